//go:build page

package browser

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// chromium is a browser that is driven over a pipe by the DevTools protocol. Its methods may be
// called from one goroutine; another one reads.
type chromium struct {
	*testing.T
	in   *os.File
	next int

	mu      sync.Mutex
	waiting map[int]chan reply
	errors  []string // of the page's script, and what its policy has stopped
}

type reply struct {
	Result json.RawMessage
	Error  *struct{ Message string }
}

// newChromium starts a browser that finds edge.test here.
func newChromium(t *testing.T) *chromium {
	t.Helper()
	path := os.Getenv("CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path == "" {
			path, _ = exec.LookPath(name)
		}
	}
	if path == "" {
		t.Fatal("no Chromium: apt-get install chromium, or name one in CHROMIUM")
	}
	hisIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, hisOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--host-resolver-rules=MAP edge.test 127.0.0.1", "--user-data-dir="+t.TempDir(), "--disable-dev-shm-usage", "about:blank")
	cmd.ExtraFiles = []*os.File{hisIn, hisOut}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hisIn.Close()
	hisOut.Close()
	c := &chromium{T: t, in: in, waiting: make(map[int]chan reply)}
	done := make(chan struct{})
	go func() { defer close(done); c.read(out) }()
	t.Cleanup(func() {
		c.send("", "Browser.close", nil)
		<-done
		_ = cmd.Wait()
	})
	return c
}

func (c *chromium) read(out *os.File) {
	r := bufio.NewReader(out)
	for {
		b, err := r.ReadBytes(0)
		if err != nil {
			return
		}
		var m struct {
			ID     int
			Method string
			Params struct {
				Entry            struct{ Level, Text, URL string }
				ExceptionDetails struct {
					Text      string
					Exception struct{ Description string }
				}
			}
			reply
		}
		if json.Unmarshal(b[:len(b)-1], &m) != nil {
			continue
		}
		c.mu.Lock()
		switch {
		case m.ID != 0:
			c.waiting[m.ID] <- m.reply
			delete(c.waiting, m.ID)
		case m.Method == "Runtime.exceptionThrown":
			c.errors = append(c.errors, m.Params.ExceptionDetails.Text+" "+m.Params.ExceptionDetails.Exception.Description)
		case m.Method == "Log.entryAdded" && m.Params.Entry.Level == "error":
			c.errors = append(c.errors, m.Params.Entry.Text+" "+m.Params.Entry.URL)
		}
		c.mu.Unlock()
	}
}

func (c *chromium) send(session, method string, params any) chan reply {
	c.next++
	answer := make(chan reply, 1)
	c.mu.Lock()
	c.waiting[c.next] = answer
	c.mu.Unlock()
	b, err := json.Marshal(map[string]any{"id": c.next, "method": method, "params": params, "sessionId": session})
	if err != nil {
		c.Fatal(err)
	}
	if session == "" {
		b = []byte(strings.Replace(string(b), `,"sessionId":""`, "", 1))
	}
	if _, err := c.in.Write(append(b, 0)); err != nil {
		c.Fatal(err)
	}
	return answer
}

type args map[string]any

// call has the browser do something, and reads its result into out, which may be nil.
func (c *chromium) call(session, method string, params, out any) {
	c.Helper()
	if params == nil {
		params = args{}
	}
	r := <-c.send(session, method, params)
	if r.Error != nil {
		c.Fatalf("%s: %s", method, r.Error.Message)
	}
	if out != nil {
		if err := json.Unmarshal(r.Result, out); err != nil {
			c.Fatal(err)
		}
	}
}

// tab is a page that is open.
type tab struct {
	*chromium
	session string
	context string // of the browser: cookies and downloads
	width   int
}

// look is how a tab looks at a page.
type look struct {
	name   string
	width  int
	height int
	scheme string
}

var (
	desktop = look{"desktop-light", 1280, 900, "light"}
	night   = look{"desktop-dark", 1280, 900, "dark"}
	phone   = look{"phone-light", 360, 740, "light"}
	bed     = look{"phone-dark", 360, 740, "dark"}
)

func (c *chromium) open(url string, l look) *tab {
	c.Helper()
	var target struct{ TargetID, SessionID, BrowserContextID string }
	c.call("", "Target.createBrowserContext", nil, &target)
	c.call("", "Target.createTarget", args{"url": "about:blank", "browserContextId": target.BrowserContextID}, &target)
	c.call("", "Target.attachToTarget", args{"targetId": target.TargetID, "flatten": true}, &target)
	n := &tab{chromium: c, session: target.SessionID, context: target.BrowserContextID}
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		n.call(n.session, domain+".enable", nil, nil)
	}
	n.see(l)
	n.call(n.session, "Page.navigate", args{"url": url}, nil)
	n.wait("document.readyState === 'complete'")
	return n
}

func (n *tab) see(l look) {
	n.width = l.width
	n.call(n.session, "Emulation.setDeviceMetricsOverride", args{
		"width": l.width, "height": l.height, "deviceScaleFactor": 1, "mobile": l.width < 500,
	}, nil)
	n.call(n.session, "Emulation.setEmulatedMedia", args{"features": []args{{"name": "prefers-color-scheme", "value": l.scheme}}}, nil)
}

// value is what an expression comes to.
func (n *tab) value(js string) (v any) {
	n.Helper()
	var r struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	n.call(n.session, "Runtime.evaluate", args{"expression": js, "awaitPromise": true, "returnByValue": true, "userGesture": true}, &r)
	if e := r.ExceptionDetails; e != nil {
		n.Fatalf("%s: %s %s", js, e.Text, e.Exception.Description)
	}
	return r.Result.Value
}

func (n *tab) text(id string) string {
	n.Helper()
	return fmt.Sprint(n.value("document.getElementById('" + id + "').innerText"))
}

// wait waits until an expression is true.
func (n *tab) wait(js string) {
	n.Helper()
	ok := n.value(`new Promise(done => { const end = Date.now() + 20000, look = () => {
		let ok = false;
		try { ok = Boolean(` + js + `); } catch {}
		if (ok || Date.now() > end) done(ok); else setTimeout(look, 30);
	}; look(); })`)
	if ok != true {
		n.Errorf("not in time: %s\nerrors: %q\npage: %s", js, n.errors, n.value("document.body.innerText"))
		n.FailNow()
	}
}

// shows waits until an element shows a text.
func (n *tab) shows(id, text string) {
	n.Helper()
	b, _ := json.Marshal(text)
	n.wait("document.getElementById('" + id + "').innerText.includes(" + string(b) + ")")
}

func (n *tab) click(selector string) {
	n.Helper()
	n.wait("document.querySelector(`" + selector + "`) && !document.querySelector(`" + selector + "`).disabled")
	n.value("document.querySelector(`" + selector + "`).click()")
}

// fill gives a field a value as a person does.
func (n *tab) fill(selector, value string) {
	n.Helper()
	b, _ := json.Marshal(value)
	n.value("(() => { const e = document.querySelector(`" + selector + "`); e.value = " + string(b) +
		"; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); })()")
}

func (n *tab) press(key string) {
	n.call(n.session, "Input.dispatchKeyEvent", args{
		"type": "keyDown", "key": key, "code": key,
		"windowsVirtualKeyCode": map[string]int{"Tab": 9, "Enter": 13, "ArrowLeft": 37, "Home": 36}[key],
		"text":                  map[string]string{"Enter": "\r"}[key],
	}, nil)
	n.call(n.session, "Input.dispatchKeyEvent", args{"type": "keyUp", "key": key, "code": key}, nil)
}

// shot keeps what is seen in the directory SHOTS.
func (n *tab) shot(name string) {
	dir := os.Getenv("SHOTS")
	if dir == "" {
		return
	}
	var r struct{ Data string }
	how := args{"captureBeyondViewport": true, "format": "png"}
	if n.width < 500 { // the rest of a long list is like its beginning
		how["clip"] = args{"x": 0, "y": 0, "width": n.width, "height": 1500, "scale": 1}
	}
	n.call(n.session, "Page.captureScreenshot", how, &r)
	data, err := base64.StdEncoding.DecodeString(r.Data)
	if err != nil {
		n.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		n.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644); err != nil {
		n.Fatal(err)
	}
}

// clean fails the test if the page's script has failed, its policy has stopped something, or axe
// finds a violation.
func (n *tab) clean(state string) {
	n.Helper()
	n.mu.Lock()
	for _, e := range n.errors {
		n.Errorf("%s: %s", state, e)
	}
	n.errors = nil
	n.mu.Unlock()
	if wide := n.value(`[...document.querySelectorAll("body *")].filter(e => e.offsetParent && e.getBoundingClientRect().right > ` + strconv.Itoa(n.width) + `.5 && !e.closest("nav,.line"))
		.slice(0, 3).map(e => e.outerHTML.slice(0, 200)).join("\n")`); wide != "" {
		n.Errorf("%s: too wide: %v", state, wide)
	}
	if axe == "" {
		return
	}
	n.value(axe + ";0")
	found := n.value(`axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}).then(r =>
		r.violations.map(v => v.id + ": " + v.nodes.map(n => n.target.join(" ") + " " + n.failureSummary).join(" | ")).join("\n"))`)
	if found != "" {
		n.Errorf("%s: %s", state, found)
	}
}

// axe is the text of axe-core; "" if AXE does not name it.
var axe = func() string {
	b, _ := os.ReadFile(os.Getenv("AXE"))
	return string(b)
}()
