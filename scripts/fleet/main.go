package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"unicode"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		stop()
		os.Exit(1)
	}
}

// most bounds the edges of one call.
const most = 10000

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("fleet", flag.ContinueOnError)
	fs.SetOutput(stderr)
	server := fs.String("server", "", "web address of ThingsBoard, such as https://thingsboard.example.org")
	user := fs.String("user", "", "a tenant administrator; the password is in the variable TB_PASSWORD")
	prefix := fs.String("prefix", "gateway-", "of the names, before the number")
	count := fs.Int("count", 0, "how many edges")
	first := fs.Int("first", 1, "number of the first one")
	names := fs.String("names", "", "a file with a name a line, instead of -prefix and -count")
	kind := fs.String("type", "default", "type of the edges")
	out := fs.String("out", "", "directory for the files of each gateway; without it a table is printed")
	form := fs.String("form", "uci", "of the files: uci (OpenWrt) or toml")
	host := fs.String("host", "", "cloud.host of the gateways; left out: that of -server")
	var settings [][2]string
	fs.Func("set", "KEY=VALUE of every gateway, such as cloud.tls.enabled=true; may be repeated", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return errors.New("must be KEY=VALUE")
		}
		settings = append(settings, [2]string{k, v})
		return nil
	})
	if err := fs.Parse(args); err != nil {
		return err
	}
	password := env("TB_PASSWORD")
	if *server == "" || *user == "" || password == "" || fs.NArg() > 0 || *form != "uci" && *form != "toml" {
		return errors.New("say -server, -user, the variable TB_PASSWORD, -form uci or toml, and no other words")
	}
	list, err := named(*names, *prefix, *first, *count)
	if err != nil {
		return err
	}
	c, err := newClient(*server, *user, password)
	if err != nil {
		return err
	}
	if *host == "" {
		u, _ := url.Parse(*server)
		*host = u.Hostname()
	}
	f := &files{dir: *out, uci: *form == "uci", settings: append([][2]string{{"cloud.host", *host}}, settings...)}
	for _, s := range f.settings {
		if err := f.check(s); err != nil {
			return err
		}
	}
	add := f.add
	if *out == "" {
		t, err := newTable(stdout)
		if err != nil {
			return err
		}
		add = t.add
	}
	if err := c.login(ctx); err != nil {
		return err
	}
	made := 0
	for _, name := range list {
		e, err := c.ensure(ctx, name, *kind)
		if err == nil {
			err = add(&e)
		}
		if err != nil {
			return fmt.Errorf("%w (%d edges before it are done: call again to go on)", err, made)
		}
		made++
	}
	fmt.Fprintf(stderr, "%d edges\n", made)
	return nil
}

// named lists the names of the edges.
func named(file, prefix string, first, count int) (list []string, err error) {
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan() && len(list) <= most; {
			if name := strings.TrimSpace(lines.Text()); name != "" {
				list = append(list, name)
			}
		}
	} else {
		width := len(fmt.Sprint(first + count - 1))
		for i := range min(count, most+1) {
			list = append(list, fmt.Sprintf("%s%0*d", prefix, width, first+i))
		}
	}
	if len(list) == 0 || len(list) > most {
		return nil, fmt.Errorf("say -count or -names, from 1 to %d", most)
	}
	for _, name := range list {
		bad := func(r rune) bool { return r == '/' || unicode.IsControl(r) }
		if strings.ContainsFunc(name, bad) || name[0] == '.' || len(name) > 200 {
			return nil, fmt.Errorf("the name %.40q cannot be that of a directory", name)
		}
	}
	return list, nil
}
