package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// linker makes the linker of the Go in use, with its cuts made, as the file out. If its source is
// not there, or is another than the cuts were made for, it says so and leaves no such file: then
// the linker is used as it is.
func linker(out string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	replaced := struct{ Replace map[string]string }{map[string]string{}}
	dir := out + "-cut"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	for _, c := range cuts {
		path := filepath.Join(strings.TrimSpace(string(root)), "src", filepath.FromSlash(c.file))
		if !strings.HasPrefix(c.file, "cmd/") || replaced.Replace[path] != "" {
			continue
		}
		text, err := os.ReadFile(path)
		if err == nil {
			text, err = cut(text, c.file)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "trim: the linker is used as it is:", err)
			if err := os.Remove(out); err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			return nil
		}
		replaced.Replace[path] = filepath.Join(dir, filepath.Base(path)+".cut") // no package of this module
		if err := os.WriteFile(replaced.Replace[path], text, 0o644); err != nil {
			return err
		}
	}
	list, err := json.Marshal(replaced)
	if err != nil {
		return err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, list, 0o644); err != nil {
		return err
	}
	build := exec.Command("go", "build", "-trimpath", "-overlay", overlay, "-o", out, "cmd/link")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stdout, build.Stderr = os.Stdout, os.Stderr
	return build.Run()
}
