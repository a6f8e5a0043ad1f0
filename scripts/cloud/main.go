package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"edgesync/proto"
	"edgesync/sync/cloudtest"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:7070", "address for the edge (gRPC)")
	control := flag.String("control", "", "address of the control endpoint (HTTP), such as 127.0.0.1:0; empty = none")
	edges := flag.Int("edges", 1, "number of edges, 1 to 10000; of more than one the keys, secrets and tokens end in -1, -2, …")
	devices := flag.Int("devices", 3, "number of devices of each edge, 0 to 10000")
	key := flag.String("routing-key", "demo-key", "routing key of the edge")
	secret := flag.String("secret", "demo-secret", "secret of the edge")
	secure := flag.Bool("tls", false, "speak TLS with a certificate made now; its CA goes to --ca-file")
	caFile := flag.String("ca-file", "cloud-ca.pem", "where --tls writes the CA certificate")
	discard := flag.Bool("discard", false, "count events and acknowledge them without storing")
	quiet := flag.Bool("quiet", false, "do not print what arrives")
	flag.Parse()
	if flag.NArg() > 0 || *devices < 0 || *devices > 10000 || *edges < 1 || *edges > 10000 {
		flag.Usage()
		os.Exit(2)
	}
	var cfg *tls.Config
	if *secure {
		var err error
		if cfg, err = selfSigned(*caFile, *listen); err != nil {
			fail(err)
		}
		fmt.Println("CA certificate:", *caFile)
	}
	if err := run(*listen, *control, *edges, *devices, *key, *secret, cfg, *discard, *quiet); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "cloud:", err)
	os.Exit(1)
}

func run(listen, control string, edges, devices int, key, secret string, cfg *tls.Config, discard, quiet bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	out := &printer{w: os.Stdout}
	o := newOperator(cloudtest.New(cloudtest.Options{
		TLS: cfg, Discard: discard, Seed: uint64(time.Now().UnixNano()),
		Log: slog.New(slog.NewTextHandler(out, nil)),
	}), out, stop)
	fmt.Printf("user: %s password: %s\n", cloudtest.AdminName, cloudtest.AdminPassword)
	for n := range edges {
		of := "" // which edge, in the names of what it has
		if edges > 1 {
			of = fmt.Sprintf("-%d", n+1)
		}
		e := o.addEdge(cloudtest.Edge{
			Name: "Demo edge" + of, Type: "default", RoutingKey: key + of, Secret: secret + of,
			Customer: proto.NullUUID, Created: time.Now(),
		})
		fmt.Printf("routing key: %s\nsecret: %s\n", e.RoutingKey, e.Secret)
		for i := range devices {
			d := o.addDevice(e, fmt.Sprintf("Device%s %d", of, i+1), fmt.Sprintf("token%s-%d", of, i+1))
			fmt.Printf("device: %s token: %s\n", d.Name, d.CredentialsID)
		}
	}
	if !quiet {
		o.cloud.OnUplink(o.printUplink)
	}

	lis, err := net.Listen("tcp", listen)
	if err != nil {
		return fmt.Errorf("listening for the edge: %w", err)
	}
	controlAddr := ""
	if control != "" {
		cl, err := net.Listen("tcp", control)
		if err != nil {
			return fmt.Errorf("listening for control: %w", err)
		}
		controlAddr = cl.Addr().String()
		srv := &http.Server{Handler: o.handler(), ReadHeaderTimeout: 5 * time.Second}
		defer srv.Close()
		go func() { _ = srv.Serve(cl) }()
	}
	served := make(chan error, 1)
	go func() { served <- o.cloud.Serve(&counted{lis, &o.tries}) }()
	fmt.Printf("listening grpc=%s control=%s\n", lis.Addr(), controlAddr)
	fmt.Println(`type "away 30s" to cut the link, "help" for more; what is here is gone when this ends, and the edge with it`)

	go o.commands(os.Stdin)
	select {
	case <-ctx.Done():
	case err = <-served:
		return err
	}
	o.cloud.Stop()
	return nil
}

// commands runs the lines of r as commands. The cloud keeps running after the last line.
func (o *operator) commands(r io.Reader) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		answer, err := o.run(sc.Text())
		if err != nil {
			answer = "error: " + err.Error()
		}
		if answer != "" {
			fmt.Fprintln(o.out, answer)
		}
	}
}
