// Command linked prints what linking the engine of scripts costs the agent on MIPS: the bytes of
// each section with it and without it, and of the whole file packed with xz -9e. It builds the
// agent twice, the second time with one file more, that runs a script. It takes TAGS, LDFLAGS and
// GCFLAGS from the Makefile: make script-size.
package main

import (
	"bytes"
	"debug/elf"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// user is the file that is added to the agent: it uses all that rules need of the engine.
//
//go:embed user.txt
var user []byte

func main() {
	dir, err := os.MkdirTemp("", "linked")
	if err == nil {
		defer os.RemoveAll(dir)
		err = compare(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "linked:", err)
		os.Exit(1)
	}
}

func compare(dir string) error {
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	added, overlay := filepath.Join(dir, "user.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(added, user, 0o600); err != nil {
		return err
	}
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "user_of_scripts.go"): added}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(overlay, text, 0o600); err != nil {
		return err
	}
	without, with := filepath.Join(dir, "without"), filepath.Join(dir, "with")
	if err := build(without); err != nil {
		return err
	}
	if err := build(with, "-overlay", overlay); err != nil {
		return err
	}
	before, _, err := sections(without)
	if err != nil {
		return err
	}
	after, names, err := sections(with)
	if err != nil {
		return err
	}
	total := 0
	for _, name := range names {
		d := after[name] - before[name]
		total += d
		if d != 0 {
			fmt.Printf("%-14s %+8d\n", name, d)
		}
	}
	packedBefore, err := packed(without)
	if err != nil {
		return err
	}
	packedAfter, err := packed(with)
	if err != nil {
		return err
	}
	fmt.Printf("%-14s %+8d bytes\n%-14s %+8d bytes\n", "together", total, "packed", packedAfter-packedBefore)
	return nil
}

// build builds the agent of the working directory for MIPS, stripped.
func build(out string, args ...string) error {
	args = append([]string{"build", "-tags", os.Getenv("TAGS"), "-trimpath", "-ldflags", os.Getenv("LDFLAGS"), "-o", out}, args...)
	// GCFLAGS are words of a shell, some of them quoted.
	args = append([]string{"-c", `eval "set -- \"\$@\" $GCFLAGS"; exec go "$@" .`, "sh"}, args...)
	cmd := exec.Command("sh", args...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=mipsle", "GOMIPS=softfloat", "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// sections are the bytes of the sections that a file holds, and their names in its order.
func sections(file string) (size map[string]int, names []string, err error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	size = map[string]int{}
	for _, s := range f.Sections {
		if s.Type != elf.SHT_NOBITS && s.Name != "" {
			size[s.Name] = int(s.Size)
			names = append(names, s.Name)
		}
	}
	return size, names, nil
}

func packed(file string) (int, error) {
	cmd := exec.Command("xz", "-9e", "--stdout", file)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	err := cmd.Run()
	return out.Len(), err
}
