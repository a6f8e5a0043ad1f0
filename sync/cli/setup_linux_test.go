package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"edgesync/sync/cloudtest/rig"
)

// pseudo is a terminal of a program in a test.
func pseudo(t *testing.T) (screen, keyboard *os.File) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { screen.Close() })
	var unlocked, n int32
	for _, c := range []struct {
		request uintptr
		value   *int32
	}{{syscall.TIOCSPTLCK, &unlocked}, {syscall.TIOCGPTN, &n}} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, screen.Fd(), c.request, uintptr(unsafe.Pointer(c.value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	keyboard, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	return screen, keyboard
}

// What is typed at a terminal is shown, but for the secret; and after it is shown again.
func TestSetupHidesTyping(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes and listens on ports; left out of -short")
	}
	screen, terminal := pseudo(t)
	file := filepath.Join(t.TempDir(), "c.toml")
	cmd := exec.Command(os.Args[0], "setup", "--config", file, "--no-test")
	cmd.Env = append(os.Environ(), asAgent+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = terminal, terminal, terminal
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen bytes.Buffer
	shown := func() string {
		mu.Lock()
		defer mu.Unlock()
		return seen.String()
	}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := screen.Read(b)
			mu.Lock()
			seen.Write(b[:n])
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	hidden := func() bool {
		var a syscall.Termios
		return termios(terminal, false, &a) == nil && a.Lflag&syscall.ECHO == 0
	}
	for _, c := range []struct{ question, answer string }{
		{"ThingsBoard server: ", "tb.example.org"},
		{"for edges [7070]: ", ""},
		{"true or false [false]: ", ""},
		{"Copy edge key\"): ", "the-key"},
		{"it is not shown): ", "s3cr3t-that-is-typed"},
		{"over HTTP; off: none [:8080]: ", "127.0.0.1:8081"},
		{"over MQTT; off: none [:1883]: ", ""},
	} {
		rig.Eventually(t, c.question, func() bool { return strings.Contains(shown(), c.question) })
		if secret := c.answer == "s3cr3t-that-is-typed"; secret {
			rig.Eventually(t, "the terminal to hide what is typed", hidden)
		} else if hidden() {
			t.Errorf("%s: hidden", c.question)
		}
		if _, err := screen.WriteString(c.answer + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, shown())
	}
	if strings.Contains(shown(), "s3cr3t") || !strings.Contains(shown(), "the-key") {
		t.Errorf("%s", shown())
	}
	c := loaded(t, file).Config
	if c.Cloud.RoutingSecret != "s3cr3t-that-is-typed" || c.Cloud.RoutingKey != "the-key" || c.HTTP.Listen != "127.0.0.1:8081" {
		t.Errorf("%+v", c.Cloud.RoutingKey)
	}
}
