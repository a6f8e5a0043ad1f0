package status

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	agent "edgesync/sync"
	"edgesync/sync/plain"
	"edgesync/sync/refusal"
)

// Print writes a snapshot for people to w, in colours if colour is true. now is what ages are
// counted to.
func Print(w io.Writer, s *agent.Snapshot, now time.Time, colour bool) error {
	return printFor(w, s, now, screen{colour: colour})
}

// screen is what a snapshot is printed for.
type screen struct {
	colour        bool
	columns, rows int // 0 = without bounds: to a file, or to another program
}

// printFor prints a snapshot: lines that are wider than the screen go on in the next, indented, and
// what has no row is left out, from the end.
func printFor(w io.Writer, s *agent.Snapshot, now time.Time, to screen) error {
	p := painter{screen: to}
	h := Judge(s)
	p.line("%s %s%s%s", p.paint(h.Level, "●"), p.bold(s.State.String()), since(s, now), peer(s))
	p.line("  %s", p.paint(h.Level, h.Text))
	for _, extra := range s.ExtraWarnings {
		p.line("  %s", p.paint(Warn, clean(extra)))
	}
	p.gap()

	oldest := ""
	if s.Pending > 0 {
		oldest = "oldest " + p.paint(h.Latency, span(s.OldestPendingMS))
	}
	if s.Filtered+s.Held+s.Merged+s.Made > 0 {
		p.line("  %-9s %s received, %s made; %s filtered, %s waiting, %s merged", "rules", group(s.Received), group(s.Made),
			group(s.Filtered), group(s.Held), group(s.Merged))
	}
	width := len(group(s.Accepted))
	row := func(sign, name string, n uint64, note string) {
		p.line("%s", strings.TrimRight(fmt.Sprintf("  %s %-9s %*s   %s", sign, name, width, group(n), note), " "))
	}
	row(" ", "accepted", s.Accepted, "")
	sign := "="
	if !Balanced(s) {
		sign = "≠"
	}
	row(sign, "deployed", s.Deployed, "")
	row("+", "pending", s.Pending, oldest)
	row("+", "dropped", s.Dropped, "")
	row("+", "dead", s.Dead, ofFormer(s))
	row("+", "damaged", s.Damaged, "")
	p.gap()

	p.line("  %-9s %s", "room", room(s)) // first: what follows may fill a small screen
	if r := s.Replay; r != nil {
		p.line("  %-9s %s", "replay", replay(r))
	}
	if r := s.RefusedCreations; r != nil {
		p.line("  %s", p.paint(Warn, refused(s)))
	}
	queue := fmt.Sprintf("committed %s of %s", group(s.Committed), group(s.LastOffset))
	if !s.Running {
		p.line("  %-9s %s", "queue", queue)
		return p.to(w)
	}
	link := fmt.Sprintf("%d of %d batches in flight", s.InFlight, s.Window)
	if s.RTTMS > 0 {
		link += fmt.Sprintf(", answered in %.1f ms", s.RTTMS)
	}
	if s.Repeated > 0 {
		link += fmt.Sprintf(", %s sent again", plural(s.Repeated, "event", "events"))
	}
	if s.MaxInbound > 0 {
		link += ", takes messages up to " + Size(int64(s.MaxInbound))
	}
	p.line("  %-9s %s, %s in %s", "link", link, plural(s.Connects, "connection", "connections"),
		plural(s.Reconnects+1, "attempt", "attempts"))
	p.line("  %-9s %s", "queue", queue)
	if s.RuleFailures > 0 {
		p.line("  %-9s %s messages at nodes of rule chains; \"edgesync rules\" says why", "failed", group(s.RuleFailures))
	}
	p.line("  %-9s %s", "flash", flash(s))
	if n := s.Room.ArraysOf10; n > 0 {
		p.line("  %-9s arrays of 10 would make this medium last %.3g times longer", "", n)
	}
	if s.Medium != "" {
		p.line("  %-9s %s; %s free", "medium", clean(s.Medium), Size(s.MediumFree))
	}
	synced := "never synced"
	if s.Synced {
		synced = "synced"
	}
	if s.Sync != "" {
		synced = clean(s.Sync)
	}
	p.line("  %-9s %s, %s; %s from the cloud, %s unused", "registry", plural(uint64(max(s.Devices, 0)), "device", "devices"), synced,
		plural(s.Downlinks, "message", "messages"), group(s.DownlinksUnused))
	if left := left(s.Parts); left != "" {
		p.line("  %-9s %s", "not kept", left)
	}
	https := ""
	if s.HTTPTLSAddress != "" {
		https = ", https " + clean(s.HTTPTLSAddress)
	}
	p.line("  %-9s http %s%s, mqtt %s, mqtt over TLS %s, %s", "doors", orOff(s.HTTPAddress), https, orOff(s.MQTTAddress),
		orOff(s.MQTTTLSAddress),
		plural(uint64(s.MQTTConnections), "MQTT connection", "MQTT connections"))
	for _, r := range recentlyRefused(s, now) {
		p.line("  %-9s %s", "refused", p.paint(Warn, refusedOnce(&r, now)))
	}
	p.line("  %-9s edgesync %s, up %s, %s of memory", "process", clean(s.Version), span(s.UptimeMS), Size(s.RSSBytes))
	return p.to(w)
}

// Of those who were refused, what people see: at most so many, and only of so long ago.
const (
	refusedShown = 5
	refusedAge   = 24 * time.Hour
)

// recentlyRefused are the latest of those who were refused.
func recentlyRefused(s *agent.Snapshot, now time.Time) []refusal.Party {
	n := 0
	for n < min(len(s.Refused), refusedShown) && now.Sub(s.Refused[n].Last) < refusedAge {
		n++
	}
	return s.Refused[:n]
}

// refusedOnce says who was refused, why and how often, and what helps.
func refusedOnce(r *refusal.Party, now time.Time) string {
	text := clean(r.Who) + ": " + clean(r.Words) + refusal.Times(r.Count, r.Since, now)
	for _, more := range []string{r.Topic, r.Detail} {
		if more != "" {
			text += "; " + clean(more)
		}
	}
	return text + "; " + clean(r.Cure)
}

// replay says how far a replay is.
func replay(r *agent.Replay) string {
	text := plural(r.Events, "acknowledged event", "acknowledged events") + " sent again (among accepted)"
	if r.Left > 0 {
		text += ", " + group(r.Left) + " left out: of what is not here any more, or dead letters"
	}
	if r.State != agent.ReplayRuns {
		return r.State + ": " + text
	}
	if all := r.Until - r.Start; all > 0 {
		text += fmt.Sprintf(", %d %% looked through", (r.Offset-r.Start)*100/all)
	}
	if r.Waits != "" {
		text += "; it waits " + clean(r.Waits)
	}
	return text
}

// ofFormer says how many of the dead events are of a former edge.
func ofFormer(s *agent.Snapshot) string {
	f := s.Former
	if f == nil || f.Events == 0 {
		return ""
	}
	return group(f.Events) + " of the former edge " + clean(f.Edge) + ": " + clean(f.Command)
}

// refused says which devices the cloud refuses to create, and what waits for that.
func refused(s *agent.Snapshot) string {
	r := s.RefusedCreations
	text := "The cloud refuses to create " + plural(uint64(max(r.Devices, 0)), "device", "devices")
	if len(r.Names) > 0 {
		named := make([]string, len(r.Names))
		for i, name := range r.Names {
			named[i] = clean(name)
		}
		text += " (" + strings.Join(named, ", ")
		if len(r.Names) < r.Devices {
			text += ", …"
		}
		text += ")"
	}
	text += because(r.Cause) + "; " + plural(uint64(max(r.Events, 0)), "event waits", "events wait") + " for that."
	if r.Full {
		text += " The room for these is used up: new data of these devices is refused (" + group(s.TurnedAway) + " events so far)."
	}
	return text
}

// left names what came from the cloud and was not kept: at most four kinds, the most frequent
// first.
func left(parts []agent.Part) string {
	var b strings.Builder
	named := make(map[string]bool)
	for range 5 {
		most, at := uint64(0), -1
		for i, p := range parts {
			if rest := p.Received - min(p.Received, p.Kept+p.Malformed); rest > most && !named[p.Name] {
				most, at = rest, i
			}
		}
		switch {
		case at < 0:
			return b.String()
		case len(named) == 4:
			b.WriteString(", …")
			return b.String()
		case len(named) > 0:
			b.WriteString(", ")
		}
		named[parts[at].Name] = true
		b.WriteString(group(most) + " " + clean(agent.PartWords(parts[at].Name)))
	}
	return b.String()
}

// room says how much room is used, how fast, and how long it lasts.
func room(s *agent.Snapshot) string {
	r := &s.Room
	text := Size(r.Used)
	if r.Limit > 0 {
		text += fmt.Sprintf(" of %s used (%.0f %%)", Size(r.Limit), r.Percent)
	}
	if r.BytesPerHour > 0 {
		text += fmt.Sprintf(", %s an hour comes in", Size(int64(r.BytesPerHour)))
	}
	if r.FullInMS != nil {
		text += ": full in " + span(*r.FullInMS)
		if !away(s) {
			text += " without a link"
		}
	}
	if s.Pending > 0 {
		text += ", backlog of " + span(s.OldestPendingMS)
	}
	return text
}

// flash says what the medium has borne today, and how long it will last.
func flash(s *agent.Snapshot) string {
	text := fmt.Sprintf("%s worn today (%s written, %s)", Size(s.FlashWearToday), Size(s.FlashBytesToday),
		plural(s.CommitsToday, "commit", "commits"))
	if r := &s.Room; r.Worn > 0 && r.Since != nil {
		text += fmt.Sprintf(", %s in all since %s", Size(r.Worn), r.Since.UTC().Format("2 Jan 2006"))
	}
	if s.FlashWearPerDay > 0 {
		text += fmt.Sprintf(", %s a day at this rate", Size(s.FlashWearPerDay))
	}
	if s.FlashYears > 0 {
		text += fmt.Sprintf(", lasts %.3g years", min(s.FlashYears, 999))
	}
	return text
}

func since(s *agent.Snapshot, now time.Time) string {
	t := s.StateSince()
	if t.IsZero() || !s.Running {
		return ""
	}
	return " for " + span(now.Sub(t).Milliseconds())
}

func peer(s *agent.Snapshot) string {
	switch {
	case s.Cloud == "":
		return ""
	case s.Edge == "":
		return "  " + clean(s.Cloud)
	}
	return "  " + clean(s.Edge) + " → " + clean(s.Cloud)
}

func orOff(address string) string {
	if address == "" {
		return "off"
	}
	return clean(address)
}

type painter struct {
	strings.Builder
	screen
	used int // rows
}

// small reports whether a screen may be too small for all that there is to tell.
func (p *painter) small() bool { return p.rows > 0 && p.rows <= 30 }

// gap is an empty line, for which a small screen has no room.
func (p *painter) gap() {
	if !p.small() {
		p.line("")
	}
}

func (p *painter) line(format string, args ...any) {
	for _, row := range wrap(fmt.Sprintf(format, args...), p.columns) {
		if p.used++; p.rows == 0 || p.used <= p.rows {
			p.WriteString(row)
			p.WriteByte('\n')
		}
	}
}

func (p *painter) to(w io.Writer) error {
	_, err := io.WriteString(w, p.String())
	return err
}

func (p *painter) paint(l Level, s string) string {
	if !p.colour {
		return s
	}
	code := "0"
	switch l {
	case OK:
		code = "32"
	case Warn:
		code = "33"
	case Bad:
		code = "31"
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p *painter) bold(s string) string {
	if !p.colour {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// Bounds of texts in a snapshot. Names and error texts come from the cloud, which may send
// megabytes.
const (
	maxLine     = 600     // bytes of one text in one line for people
	maxShown    = 1 << 10 // bytes of one text in JSON
	maxWarnings = 32      // warnings beside the judgement
)

// clean makes text from elsewhere harmless for a terminal and bounds it.
func clean(s string) string { return plain.Text(s, maxLine) }

// cut bounds the texts of a snapshot. The snapshot's slices may be shared and are not changed.
func cut(s *agent.Snapshot) {
	for _, text := range []*string{
		&s.Version, &s.LastError, &s.Edge, &s.Cloud, &s.Sync, &s.Medium, &s.HTTPAddress, &s.MQTTAddress, &s.MQTTTLSAddress,
		&s.HTTPTLSAddress,
	} {
		*text = plain.Cut(*text, maxShown)
	}
	if s.Former != nil {
		f := *s.Former
		f.Edge = plain.Cut(f.Edge, maxShown)
		s.Former = &f
	}
	if s.RefusedCreations != nil {
		r := *s.RefusedCreations // the agent's is shared
		r.Cause = plain.Cut(r.Cause, maxShown)
		s.RefusedCreations = &r
	}
	warnings := s.ExtraWarnings[:min(len(s.ExtraWarnings), maxWarnings)]
	s.ExtraWarnings = nil
	for _, w := range warnings {
		s.ExtraWarnings = append(s.ExtraWarnings, plain.Cut(w, maxShown))
	}
}

// group writes a number with commas between the thousands.
func group(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Size writes a number of bytes for people.
func Size(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
}
