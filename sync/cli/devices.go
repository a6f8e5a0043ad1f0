package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"edgesync/proto"
	"edgesync/sync/plain"
	"edgesync/sync/refusal"
	"edgesync/sync/registry"
	"edgesync/sync/sighting"
	"edgesync/sync/status"
)

const devicesHelp = `Usage:
  edgesync devices             one line a device, by name: how it is connected,
                               when it was seen last, what it sends, what was
                               refused to it and why; then those who knocked
                               with credentials that no device here has
  edgesync devices NAME        all about the device of that name; without one,
                               the devices whose name, label or type has NAME in
                               it
  --json                       one JSON object a device, then one for those who
                               are unknown

A running agent knows when a device was seen since its own start. Without an
agent there are the names only; edgesync wal dump --entity NAME --tail 1 shows
what a device sent last. Of a token that is unknown no more is shown than a
mark, the first four letters of what "echo -n TOKEN | sha256sum" prints.
Exit code 1: there is no such device.

Examples:
  edgesync devices
  edgesync devices pump-3
`

// devicesCommand is edgesync devices.
func (p *program) devicesCommand(args []string) int {
	t := p.newTool("devices", "")
	t.flags.BoolVar(&t.json, "json", false, "")
	rest, code, done := t.parse(args, 1)
	if done {
		return code
	}
	dir, err := t.dataDir()
	if err == nil {
		err = checkQueue(filepath.Join(dir, "queue"))
	}
	if err != nil {
		return p.fail(err)
	}
	return t.end(t.devices(dir, rest))
}

// devices prints devices. names is empty, or the name or a part of it.
func (t *tool) devices(dir string, names []string) error {
	ask := func(q status.DeviceQuery) (*status.DeviceList, error) { return status.AskDevices(dir, q) }
	_, err := ask(status.DeviceQuery{Limit: 1}) // to know whether an agent answers
	if errors.Is(err, status.ErrNoAgent) {
		n, failed := registry.InspectNames(filepath.Join(dir, "registry"))
		if failed != nil {
			return fmt.Errorf("read the names of the devices: %w", failed)
		}
		defer n.Close()
		var all []registry.Device // read once, for all pages
		n.Each(func(d registry.Device) bool { all = append(all, d); return true })
		offline := status.Devices{
			Each: func(fn func(registry.Device) bool) {
				for _, d := range all {
					if !fn(d) {
						return
					}
				}
			},
			Refusals: refusal.New(nil), Values: func(proto.UUID, func(int64, proto.KV)) {},
			ByID:    func(proto.UUID) (d registry.Device, ok bool) { return d, false },
			Session: func(proto.UUID) (id proto.UUID, ok bool) { return id, false },
		}
		ask = func(q status.DeviceQuery) (*status.DeviceList, error) { return offline.List(q, time.Now()), nil }
		if !t.json {
			fmt.Fprintln(t.stdout, "no agent runs: these are the devices of its registry")
		}
	} else if err != nil {
		return err
	}
	q := status.DeviceQuery{Limit: 100}
	if len(names) > 0 {
		q.Name = names[0]
		l, err := ask(q)
		if err != nil {
			return err
		}
		if len(l.Devices) > 0 {
			return t.oneDevice(l)
		}
		q.Name, q.Text = "", names[0]
	}
	n := 0
	for more := true; more; more = q.After != "" {
		l, err := ask(q)
		if err != nil {
			return err
		}
		for i := range l.Devices {
			if err := t.device(&l.Devices[i], n == 0); err != nil {
				return err
			}
			n++
		}
		if len(names) == 0 && q.After == "" {
			defer t.unknown(l.Unknown)
		}
		q.After = l.Next
	}
	switch {
	case n == 0 && len(names) > 0:
		return errors.New("no device here has this in its name, label or type; edgesync devices shows all")
	case !t.json:
		_, err = fmt.Fprintln(t.stdout, several(n, "device", "devices"))
		return err
	}
	return nil
}

// how says how a device is connected, or was.
func how(d *status.DeviceLine) string {
	text := orDash(d.Door)
	if d.Door == sighting.Gateway.String() && d.Gateway != "" {
		text = "via " + d.Gateway
	}
	if d.Connected {
		text += ", connected"
	}
	return text
}

func lastSeen(d *status.DeviceLine, now time.Time) string {
	if d.LastSeen == nil {
		return "-"
	}
	return plain.Ago(now.Sub(*d.LastSeen))
}

// device prints a device in one line, and what was refused to it in others.
func (t *tool) device(d *status.DeviceLine, first bool) error {
	if t.json {
		return json.NewEncoder(t.stdout).Encode(d)
	}
	if first {
		fmt.Fprintf(t.stdout, "%-24s  %-20s  %-10s  %7s  %s\n", "DEVICE", "HOW", "SEEN", "PER MIN", "LAST VALUES")
	}
	var values strings.Builder
	for _, v := range d.Values {
		values.WriteString(v.Key + "=" + string(v.Value) + " ")
	}
	now := time.Now()
	_, err := fmt.Fprintln(t.stdout, strings.TrimRight(fmt.Sprintf("%-24s  %-20s  %-10s  %7s  %s", printable(d.Name), printable(how(d)),
		lastSeen(d, now), perMinute(d), printable(values.String())), " "))
	for i := range d.Refused {
		fmt.Fprintf(t.stdout, "    %s\n", "refused: "+refusedWords(&d.Refused[i], now))
	}
	return err
}

func perMinute(d *status.DeviceLine) string {
	if d.LastSeen == nil {
		return "-"
	}
	return fmt.Sprintf("%.1f", d.PerMinute)
}

// oneDevice prints all about a device.
func (t *tool) oneDevice(l *status.DeviceList) error {
	d := &l.Devices[0]
	if t.json {
		return t.device(d, false)
	}
	now := time.Now()
	line := func(name, text string) { fmt.Fprintf(t.stdout, "%-10s %s\n", name, printable(text)) }
	line("device", d.Name)
	line("id", d.ID)
	line("profile", d.Type)
	if d.Label != "" {
		line("label", d.Label)
	}
	line("connected", how(d))
	seen := lastSeen(d, now)
	if d.LastSeen == nil {
		seen = "not since the start of the agent"
	} else {
		seen += ", " + d.LastSeen.Format(time.RFC3339)
	}
	line("seen", seen)
	line("per minute", perMinute(d)+" events")
	for _, v := range d.Values {
		line("value", v.Key+" = "+string(v.Value)+"  ("+plain.Ago(now.Sub(time.UnixMilli(v.TS)))+")")
	}
	for i := range d.Refused {
		line("refused", refusedWords(&d.Refused[i], now))
	}
	return nil
}

// unknown prints who knocked with credentials that no device has.
func (t *tool) unknown(list []refusal.Party) {
	if t.json {
		_ = json.NewEncoder(t.stdout).Encode(map[string]any{"unknown": list})
		return
	}
	now := time.Now()
	for i := range list {
		fmt.Fprintf(t.stdout, "unknown: %s over %s: %s\n", printable(list[i].Who), list[i].Door, "refused: "+refusedWords(&list[i], now))
	}
}

// refusedWords say what was refused, why and how often, when last, and what helps.
func refusedWords(r *refusal.Party, now time.Time) string {
	text := r.Words
	if len(r.Marks) > 0 {
		text += " (" + strings.Join(r.Marks, ", ") + ")"
	}
	text += refusal.Times(r.Count, r.Since, now) + ", last " + plain.Ago(now.Sub(r.Last))
	for _, more := range []string{r.Topic, r.Detail} {
		if more != "" {
			text += "; " + more
		}
	}
	return printable(text + "; " + r.Cure)
}
