//go:build page

package browser

import (
	"fmt"
	"strings"
	"testing"

	agent "edgesync/sync"
)

// Each view in each look has no violation of WCAG AA, fits its screen, and is kept.
func TestLooks(t *testing.T) {
	s := newSite(t)
	s.refuse()
	c := newChromium(t)
	n := c.open(s.here(""), desktop)
	for _, view := range []struct{ hash, ready, open string }{
		{"overview", "document.querySelector('#plots path') && t('t-in') !== '–'", ""},
		{"overview?hours=24", "document.querySelectorAll('#plots .out').length > 0 && t('h-note').includes('not recorded')", ""},
		{"events", "document.querySelectorAll('#e-rows .row').length === 50", "#e-rows .row:nth-child(3) button"},
		{"refused", "document.querySelectorAll('#d-rows .row').length === 3", "#d-rows .row:nth-child(2) button"},
		{"devices", "document.querySelectorAll('#v-rows .row').length === 6", "#v-rows .row:nth-child(1) button"},
		{"rules", "document.querySelectorAll('#u-chains .row').length === 2", "#u-chains .row:nth-child(2) button"},
		{"log", "document.querySelectorAll('#l-rows li').length === 60", ""},
	} {
		n.value("location.hash = '" + view.hash + "'")
		n.wait("(t => " + view.ready + ")(id => document.getElementById(id).innerText)")
		if view.open != "" {
			n.click(view.open)
		}
		for _, l := range []look{desktop, night, phone, bed} {
			n.see(l)
			n.value("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
			n.clean(view.hash + " " + l.name)
			n.shot(strings.NewReplacer("?", "-", "=", "").Replace(view.hash) + "-" + l.name)
		}
		n.see(desktop)
	}
}

// Without room, without a link, and without the agent.
func TestStates(t *testing.T) {
	s := newSite(t)
	c := newChromium(t)
	n := c.open(s.here(""), desktop)
	n.shows("headline", "All is well")
	n.wait("document.querySelector('#plots path')")
	s.full()
	n.shows("headline", "FULL and dropping the oldest")
	n.shows("warnings", "data_dir is in RAM")
	n.shows("account", "lost: quota")
	s.set(func(n *agent.Snapshot) { // the link is back, and the loss is to be told
		n.State, n.Pending, n.Deployed, n.OldestPendingMS = agent.Connected, 0, n.Deployed+n.Pending, 0
	})
	n.click("#ack:not([hidden])")
	n.shows("ack-note", "Noted.")
	s.was("/api/edgesync/do")
	s.set(func(n *agent.Snapshot) {
		n.State, n.Pending, n.Deployed, n.OldestPendingMS = agent.Disconnected, 41200, n.Deployed-41200, 38*60000
	})
	n.shows("headline", "FULL and dropping the oldest")
	n.value("document.getElementById('h1').click()")
	n.wait("document.querySelectorAll('#plots .out').length >= 1")
	for _, l := range []look{desktop, night, phone} {
		n.see(l)
		n.value("new Promise(f => requestAnimationFrame(() => requestAnimationFrame(f)))")
		n.clean("full " + l.name)
		n.shot("full-" + l.name)
	}
	n.see(desktop)
	s.mu.Lock()
	s.down = true
	s.mu.Unlock()
	s.http.CloseClientConnections()
	n.wait("document.body.classList.contains('gone')")
	n.shows("gone", "What is shown is as of ")
	n.shot("gone-desktop-light")
	s.mu.Lock()
	s.down = false
	s.mu.Unlock()
	n.wait("!document.body.classList.contains('gone')")
	s.set(func(n *agent.Snapshot) { n.State = agent.Connected })
	n.shows("state", "connected")
	c.mu.Lock()
	c.errors = nil // requests that failed
	c.mu.Unlock()
}

// Events are found by each filter; the address is the view.
func TestEventFilters(t *testing.T) {
	s := newSite(t)
	c := newChromium(t)
	n := c.open(s.here("#events"), desktop)
	rows := func(n int) string { return fmt.Sprintf("document.querySelectorAll('#e-rows .row').length === %d", n) }
	n.wait(rows(50))
	n.click("#e-older")
	n.wait(rows(100))
	n.fill("#f-events [name=device]", "cold store 1")
	n.wait(rows(50) + " && location.hash === '#events?device=cold+store+1'")
	if all := n.value("[...document.querySelectorAll('#e-rows .line')].every(l => l.children[2].innerText === 'Cold store " +
		"1')"); all != true {
		t.Error("other devices are shown")
	}
	n.fill("#f-events [name=device]", "")
	n.fill("#f-events [name=action]", "ATTRIBUTES_UPDATED")
	n.wait(rows(16) + " && location.hash === '#events?action=ATTRIBUTES_UPDATED'")
	n.fill("#f-events [name=action]", "")
	n.fill("#f-events [name=status]", "DEAD")
	n.wait("location.hash === '#events?status=DEAD' && [...document.querySelectorAll('#e-rows .line')].every(l => " +
		"l.children[1].innerText === 'DEAD')")
	n.fill("#f-events [name=status]", "PENDING")
	n.wait(rows(11))
	n.fill("#f-events [name=status]", "")
	n.fill("#f-events [name=text]", "ajar")
	n.wait("location.hash === '#events?text=ajar' && [...document.querySelectorAll('#e-rows .line')].every(l => " +
		"l.children[4].innerText.includes('ajar'))")
	// What a device sends is a text.
	n.click("#e-rows .row button")
	n.wait("document.querySelector('#e-rows pre').innerText.includes('<script>alert(1)</script>') && " +
		"!document.querySelector('#e-rows script')")
	// A range, and an address that somebody was sent.
	n.click("#f-events [type=reset]")
	n.wait("location.hash === '#events'")
	at := n.value("(() => { const d = new Date(Date.now() - 7200000); return new Date(d - d.getTimezoneOffset() * " +
		"60000).toISOString().slice(0, 16); })()").(string)
	n.value("location.hash = 'events?since=" + at + "&device=meter'")
	n.wait("document.querySelector('#f-events [name=since]').value === '" + at +
		"' && document.querySelectorAll('#e-rows .row').length <= 8 && document.querySelectorAll('#e-rows .row').length >= 6")
	n.value("location.hash = 'events?until=" + at + "'")
	n.wait(rows(50) + " && !document.querySelector('#e-rows .warning')")
	n.value("location.hash = 'events?device=nobody'")
	n.shows("e-note", "Nothing matches.")
	n.clean("events")
}

// Dead letters are retried at once, and dropped when the person is sure.
func TestRefused(t *testing.T) {
	s := newSite(t)
	s.refuse()
	c := newChromium(t)
	n := c.open(s.here("#refused"), desktop)
	n.shows("d-rows", "Device profile not found")
	n.shows("n-dead", "3")
	n.shows("r-rows", "192.168.1.20")
	n.click("#d-rows .row:nth-child(1) .line")
	n.wait("document.querySelector('#d-rows .more').innerText.includes('The cloud says')")
	n.click("#d-rows .more button")
	n.shows("d-note", "It is tried again now.")
	s.was("retry 43")
	n.click("#d-rows .row:nth-child(1) .line")
	n.click("#d-rows .more .danger")
	n.wait("document.getElementById('sure').open")
	n.clean("dialog")
	n.shot("sure-desktop-light")
	n.click("#sure button:not(.danger)")
	n.wait("!document.getElementById('sure').open")
	n.click("#d-rows .more .danger")
	n.click("#sure-y")
	n.shows("d-note", "1 event is dropped.")
	s.was("drop 43")
	n.wait("document.querySelectorAll('#d-rows .row').length === 2")
	n.click("#d-retry")
	n.shows("d-note", "tried again.")
	s.was("retry 0")
	n.click("#d-drop")
	n.click("#sure-y")
	n.shows("d-note", "2 events are dropped.")
	n.wait("document.querySelectorAll('#d-rows .row').length === 0")
	n.clean("refused")
}

// The other buttons and filters.
func TestActions(t *testing.T) {
	s := newSite(t)
	c := newChromium(t)
	n := c.open(s.here(""), desktop)
	n.wait("document.querySelector('#plots path')")
	for _, do := range []string{"reconnect", "sync"} {
		n.click("[data-do=" + do + "]")
		n.wait("document.getElementById('a-note').innerText.length > 3")
		s.was("/api/edgesync/do")
	}
	n.fill("#level", "debug")
	n.wait("document.getElementById('a-note').innerText.length > 3")
	s.was("/api/edgesync/do")
	n.click("#bundle")
	n.shows("a-note", "The diagnosis is downloaded")
	s.was("/api/edgesync/bugreport")
	n.click("#h24")
	n.wait("location.hash === '#overview?hours=24' && document.querySelectorAll('#plots .out').length > 0")
	n.click("#h1")
	n.wait("location.hash === '#overview' && document.getElementById('h1').getAttribute('aria-pressed') === 'true'")
	// A plot is read with the keyboard.
	n.value("document.querySelector('#plots svg').focus()")
	n.press("Home")
	n.wait("/^\\d\\d:\\d\\d: /.test(document.querySelector('#plots i').innerText)")
	n.wait("document.querySelector('#plots svg').getAttribute('aria-label').includes('Arrow keys read each minute')")
	n.value("location.hash = 'devices'")
	n.wait("document.querySelectorAll('#v-rows .row').length === 6")
	n.shows("unknown", "192.168.1.20")
	n.fill("#f-devices [name=text]", "cold")
	n.wait("document.querySelectorAll('#v-rows .row').length === 2 && location.hash === '#devices?text=cold'")
	n.click("#v-rows .line")
	n.click("#v-rows .more button")
	n.wait("location.hash.startsWith('#events?device=ed000000-') && document.querySelectorAll('#e-rows .row').length === 50")
	n.value("location.hash = 'log'")
	n.wait("document.querySelectorAll('#l-rows li').length === 60")
	n.fill("#f-log [name=text]", "error")
	n.wait("document.querySelectorAll('#l-rows li').length === 15")
	n.value("location.hash = 'rules'")
	n.shows("u-chains", "not executed: no mail here")
	n.shows("u-chains", "True 900, ended 5,310")
	n.shows("u-note", "1,290,403 received + 120 made = ")
	n.shows("u-note", " accepted + 5,310 filtered + 3 waiting + 900 merged. Telemetry of")
	// The first stop of the keyboard leads to the content.
	n.value("scrollTo(0, 0)")
	n.value("document.activeElement.blur()")
	n.press("Tab")
	n.wait("document.activeElement.tagName === 'A' || document.activeElement.tagName === 'BUTTON'")
	n.clean("actions")
}

// Who is not on this machine logs in, and sees what is theirs; the token is in no address.
func TestLogin(t *testing.T) {
	s := newSite(t)
	s.refuse()
	c := newChromium(t)
	n := c.open(s.there("#events"), desktop)
	n.shows("e-note", "shown to who is logged in")
	n.shows("who", "Log in")
	if n.value("document.getElementById('e-rows').innerText.includes('temperature')") != false {
		t.Error("contents are shown to nobody in particular")
	}
	n.value("location.hash = 'refused'")
	n.shows("d-note", "3 events are kept. What they are is shown to who is logged in.")
	n.clean("nobody")
	n.shot("nobody-refused-desktop-light")
	login := func(user, password string) {
		t.Helper()
		n.click("#who button")
		n.wait("document.getElementById('login').open")
		n.fill("#login [name=user]", user)
		n.fill("#login [name=password]", password)
		n.click("#login [type=submit]")
	}
	login("ann@example.org", "wrong")
	n.shows("login-e", "Invalid username or password")
	c.mu.Lock()
	c.errors = nil // the answer to the wrong password
	c.mu.Unlock()
	n.clean("login")
	n.shot("login-desktop-light")
	n.see(phone)
	n.shot("login-phone-light")
	n.see(desktop)
	n.click("#login [data-close]")
	login("carl@example.org", "right")
	n.shows("who", "carl@example.org")
	n.wait("document.querySelectorAll('#d-rows .row').length === 1")
	if n.value("document.getElementById('d-drop').hidden && document.getElementById('actions').hidden") != true {
		t.Error("a user of a customer may act")
	}
	n.value("location.hash = 'events'")
	n.wait("document.querySelectorAll('#e-rows .row').length === 50 && [...document.querySelectorAll('#e-rows " +
		".line')].every(l => l.children[2].innerText === 'Cold store 1')")
	n.shows("e-rows", "temperature")
	n.click("#who button")
	n.shows("who", "Log in")
	n.shows("e-note", "shown to who is logged in")
	login("ann@example.org", "right")
	n.shows("who", "ann@example.org")
	n.value("location.hash = 'refused'")
	n.wait("document.querySelectorAll('#d-rows .row').length === 3 && !document.getElementById('d-drop').hidden")
	n.value("location.reload()")
	n.wait("document.readyState === 'complete'")
	n.shows("who", "ann@example.org")
	if url := n.value("performance.getEntriesByType('resource').map(e => e.name).join(' ') + " +
		"location.href"); strings.Contains(fmt.Sprint(url), "admin") {
		t.Error("a token in an address")
	}
}

// The live region speaks when something has changed, and then not for a minute.
func TestLiveRegion(t *testing.T) {
	s := newSite(t)
	c := newChromium(t)
	n := c.open(s.here(""), desktop)
	n.shows("say", "All is well")
	n.value("window.said = 0; new MutationObserver(() => said++).observe(document.getElementById('say'), {childList: true, " +
		"characterData: true, subtree: true})")
	s.full()
	n.shows("headline", "FULL")
	if n.value("said") != 0.0 {
		t.Error("the live region speaks twice in a minute")
	}
}
