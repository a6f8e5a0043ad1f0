package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// release is one release while it is made. One goroutine makes it.
type release struct {
	root       string // of the repository
	bin        string // directory with edgesync-linux-NAME
	out        string
	stage      string // of what is made on the way
	nfpm       string // the program
	key        string // file with the private RSA key; "" = nothing is signed
	ca         string // PEM file with the authorities that the image trusts
	sbom       string // file with the parts list; "" = none
	maintainer string
	homepage   string

	version version
	time    time.Time // of the commit
	changes string    // the section of CHANGELOG.md
}

func (r *release) repository(path string) string { return filepath.Join(r.root, path) }
func (r *release) binary(t target) string        { return filepath.Join(r.bin, "edgesync-linux-"+t.binary) }

func (r *release) binaryName(t target) string {
	return "edgesync-" + r.version.people + "-linux-" + t.binary
}

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, stdout io.Writer) error {
	var r release
	var describe, only string
	var epoch int64
	fs := flag.NewFlagSet("release", flag.ContinueOnError)
	fs.StringVar(&describe, "version", "", "the output of git describe --tags")
	fs.Int64Var(&epoch, "time", 0, "of the commit, in seconds since 1970")
	fs.StringVar(&r.root, "root", ".", "the repository")
	fs.StringVar(&r.bin, "bin", "build", "where the binaries are, as edgesync-linux-NAME")
	fs.StringVar(&r.out, "out", "dist", "where the release goes; must be empty or missing")
	fs.StringVar(&r.nfpm, "nfpm", "nfpm", "the program nfpm")
	fs.StringVar(&r.key, "key", "", "file with a private RSA key, to sign; empty: nothing is signed")
	fs.StringVar(&r.ca, "ca", "/etc/ssl/certs/ca-certificates.crt", "authorities for the container image")
	fs.StringVar(&r.sbom, "sbom", "", "the parts list (CycloneDX) to publish")
	fs.StringVar(&r.maintainer, "maintainer", "edgesync <edgesync@localhost>", "whom the packages name")
	fs.StringVar(&r.homepage, "homepage", "", "address that the packages name")
	fs.StringVar(&only, "only", "", "binaries to release, separated by commas; empty: all")
	say := fs.Bool("say-version", false, "print the version as people say it, and end")
	if err := fs.Parse(args); err != nil {
		return err
	}
	var err error
	if r.version, err = parseVersion(describe); err != nil {
		return err
	}
	if *say {
		fmt.Fprintln(stdout, r.version.people)
		return nil
	}
	list, err := selected(only)
	if err != nil {
		return err
	}
	if epoch <= 0 {
		return errors.New("-time is missing: the time of the commit, in seconds")
	}
	r.time = time.Unix(epoch, 0).UTC()
	return r.make(list, stdout)
}

// selected is the targets that a list names.
func selected(only string) ([]target, error) {
	if only == "" {
		return targets, nil
	}
	var list []target
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(targets, func(t target) bool { return t.binary == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no binary %q", name)
		}
		list = append(list, targets[i])
	}
	return list, nil
}

// make makes the release of the targets.
func (r *release) make(list []target, stdout io.Writer) (err error) {
	if there, err := os.ReadDir(r.out); err == nil && len(there) > 0 {
		return fmt.Errorf("%s is not empty: what lies there would be published too; remove it", r.out)
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.stage, err = os.MkdirTemp("", "edgesync-release-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.stage)) }()
	for _, step := range []func() error{r.readChanges, r.writeApkLists, r.writeDebianDocs} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, t := range list {
		if err := copyFile(r.binary(t), filepath.Join(r.out, r.binaryName(t)), 0o755); err != nil {
			return err
		}
		if err := r.packAll(t); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%-10s packed\n", t.binary)
	}
	if slices.ContainsFunc(list, func(t target) bool { return t.openwrt != nil }) {
		if err := r.packLuCI(); err != nil {
			return err
		}
	}
	if err := r.image(list); err != nil {
		return err
	}
	if r.sbom != "" {
		if err := copyFile(r.sbom, filepath.Join(r.out, "edgesync-"+r.version.people+".cdx.json"), 0o644); err != nil {
			return err
		}
	}
	if err := r.writeNotes(list); err != nil {
		return err
	}
	if err := r.seal(); err != nil {
		return err
	}
	signed := "signed"
	if r.key == "" {
		signed = "NOT SIGNED: no key was given (SIGN_KEY)"
	}
	fmt.Fprintf(stdout, "edgesync %s is in %s, %s\n", r.version.people, r.out, signed)
	return nil
}

func copyFile(from, to string, mode os.FileMode) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, mode)
}
