package main

import (
	"context"
	"database/sql/driver"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/mattn/go-sqlite3"

	"edgesync/wal"
	"edgesync/wal/medium"
)

// fragment is the size of an event's content in bytes: three values of telemetry have about 95.
const fragment = 100

// group is the events that one commit makes durable. next numbers the events of a box over all its
// groups; the number stands in Event.Time.
type group struct {
	events []wal.Event
	next   int64
}

// newGroups makes two equal groups, one for each box.
func newGroups(size int) (g [2]*group) {
	for i := range g {
		g[i] = &group{events: make([]wal.Event, size)}
		for k := range g[i].events {
			e := &g[i].events[k]
			e.Kind, e.Action, e.Entity, e.Fragment = 2, 4, [16]byte{15: byte(k % 10)}, make([]byte, fragment)
			for j := range e.Fragment {
				e.Fragment[j] = byte(rand.Uint32())
			}
		}
	}
	return g
}

func (g *group) number() {
	for i := range g.events {
		g.next++
		g.events[i].Time = g.next
	}
}

// bare only writes groups and makes each durable.
func (a *account) bare(f *os.File, b []byte, groups, size int) error {
	begin := time.Now()
	for range groups {
		if _, err := f.Write(b); err != nil {
			return err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return err
		}
	}
	a.took += time.Since(begin)
	a.events += groups * size
	return nil
}

// queue is the box around wal.Queue.
type queue struct {
	q    *wal.Queue
	r    *wal.Reader
	read int64 // number of the last event read
}

func openQueue(dir string) (*queue, error) {
	on, err := medium.Read(filepath.Dir(dir))
	if err != nil {
		return nil, err
	}
	q, err := wal.Open(wal.Options{
		Dir: filepath.Join(dir, "queue"), CorruptDir: filepath.Join(dir, "corrupt"), Policy: wal.RejectNew,
		Fill: on.InPlace(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	return &queue{q: q, r: q.Reader()}, nil
}

func (b *queue) put(g *group) error {
	g.number()
	return b.q.Append(context.Background(), g.events...)
}

func (b *queue) drain(n int) (int, error) {
	count := 0
	var wrong error
	err := b.r.Read(func(e *wal.Entry) bool {
		if count == n {
			return false
		}
		if b.read++; e.Time != b.read || len(e.Fragment) != fragment {
			wrong = fmt.Errorf("event %d instead of %d", e.Time, b.read)
			return false
		}
		count++
		return true
	})
	if err == nil {
		err = wrong
	}
	if err != nil {
		return count, err
	}
	return count, b.q.Commit(b.r.Position(), uint64(count), 0)
}

func (b *queue) pending() (int, error) { return int(b.q.Stats().Pending), nil }

func (b *queue) close() error {
	b.r.Close()
	return b.q.Close()
}

// kind is the kind of an outbox; see the package comment.
type kind int

const (
	plain kind = iota
	tuned
	lean
)

func (k kind) String() string { return [...]string{"plain", "tuned", "lean"}[k] }

// settings are the pragmas of SQLite. An exclusively held file needs neither locks nor shared
// memory; the cache is 8 MiB.
func (k kind) settings() []string {
	if k == plain {
		return []string{"PRAGMA synchronous=FULL"}
	}
	return []string{
		"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL",
		"PRAGMA cache_size=-8192", "PRAGMA temp_store=MEMORY",
	}
}

func (k kind) schema() []string {
	if k == lean {
		return []string{`CREATE TABLE cloud_event (
			seq INTEGER PRIMARY KEY, status TEXT NOT NULL DEFAULT 'PENDING', cloud_event_type INTEGER NOT NULL,
			cloud_event_action INTEGER NOT NULL, entity_id BLOB NOT NULL, ts INTEGER NOT NULL, entity_body BLOB NOT NULL)`}
	}
	return []string{
		`CREATE TABLE cloud_event (
			id BLOB PRIMARY KEY NOT NULL, seq INTEGER NOT NULL, status TEXT NOT NULL DEFAULT 'PENDING', created_time INTEGER NOT NULL,
			tenant_id BLOB NOT NULL, edge_id BLOB NOT NULL, cloud_event_type TEXT NOT NULL, entity_type TEXT NOT NULL,
			entity_id BLOB NOT NULL, cloud_event_action TEXT NOT NULL, entity_body BLOB NOT NULL, ts INTEGER NOT NULL)`,
		"CREATE INDEX cloud_event_status ON cloud_event (status, seq)",
	}
}

func (k kind) insert() string {
	if k == lean {
		return "INSERT INTO cloud_event (seq, entity_id, ts, entity_body, cloud_event_type, cloud_event_action) VALUES (?,?,?,?,?,?)"
	}
	return `INSERT INTO cloud_event (seq, entity_id, ts, entity_body, id, created_time, tenant_id, edge_id,
  cloud_event_type, entity_type, cloud_event_action)
		VALUES (?,?,?,?,?,?,?,?,?,?,?)`
}

// table is the box around an outbox table: one connection that holds the file, and statements that
// are prepared once.
type table struct {
	conn driver.Conn
	kind kind

	begin, commit, insert, pick, update, remove, count driver.StmtQueryContext

	row    [11]driver.NamedValue
	tenant [16]byte
	read   int64 // seq of the last event read
	acked  int64 // seq of the last event acknowledged
	marked int64 // seq of the last event marked
	gone   int64 // seq of the last event deleted
}

// deleteEvery is how many acknowledged events are deleted together.
const deleteEvery = 10_000

// version returns the version of SQLite.
func version() (string, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open(":memory:")
	if err != nil {
		return "", err
	}
	defer c.Close()
	p, err := c.Prepare("SELECT sqlite_version()")
	if err != nil {
		return "", err
	}
	defer p.Close()
	rows, err := p.(driver.StmtQueryContext).QueryContext(context.Background(), nil)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var v [1]driver.Value
	err = rows.Next(v[:])
	return fmt.Sprint(v[0]), err
}

func openTable(dir string, k kind) (*table, error) {
	c, err := (&sqlite3.SQLiteDriver{}).Open("file:" + filepath.Join(dir, "outbox.db"))
	if err != nil {
		return nil, err
	}
	t := &table{conn: c, kind: k}
	for i := range t.row {
		t.row[i].Ordinal = i + 1
	}
	for _, s := range append(k.settings(), k.schema()...) {
		if err := t.exec(s); err != nil {
			return nil, fmt.Errorf("%s: %w", s, err)
		}
	}
	for _, s := range []struct {
		to  *driver.StmtQueryContext
		sql string
	}{
		{&t.begin, "BEGIN IMMEDIATE"},
		{&t.commit, "COMMIT"},
		{&t.insert, k.insert()},
		{&t.pick, "SELECT seq, ts, entity_body, entity_id, cloud_event_type, cloud_event_action " +
			"FROM cloud_event WHERE seq > ? AND status = 'PENDING' ORDER BY seq LIMIT ?"},
		{&t.update, "UPDATE cloud_event SET status = 'DEPLOYED' WHERE status = 'PENDING' AND seq > ? AND seq <= ?"},
		{&t.remove, "DELETE FROM cloud_event WHERE status = 'DEPLOYED' AND seq > ? AND seq <= ?"},
		{&t.count, "SELECT count(*) FROM cloud_event WHERE status = 'PENDING' AND seq > ?"},
	} {
		p, err := t.conn.Prepare(s.sql)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.sql, err)
		}
		*s.to = p.(driver.StmtQueryContext)
	}
	return t, nil
}

// exec runs a statement without preparing it.
func (t *table) exec(sql string) error {
	p, err := t.conn.Prepare(sql)
	if err != nil {
		return err
	}
	defer p.Close()
	return t.do(p.(driver.StmtQueryContext))
}

// do runs a prepared statement and discards its rows.
func (t *table) do(s driver.StmtQueryContext, values ...driver.Value) error {
	for i, v := range values {
		t.row[i].Value = v
	}
	_, err := s.(driver.StmtExecContext).ExecContext(context.Background(), t.row[:len(values)])
	return err
}

func (t *table) put(g *group) error {
	g.number()
	if err := t.do(t.begin); err != nil {
		return err
	}
	if t.kind == lean {
		if err := t.markAcked(); err != nil {
			return err
		}
	}
	for i := range g.events {
		e := &g.events[i]
		var err error
		if t.kind == lean {
			err = t.do(t.insert, e.Time, e.Entity[:], e.Time, e.Fragment, int64(e.Kind), int64(e.Action))
		} else {
			var id [16]byte // ascending, as time-based ids nearly are: the best case for the index
			binary.BigEndian.PutUint64(id[:], uint64(e.Time))
			err = t.do(t.insert, e.Time, e.Entity[:], e.Time, e.Fragment, id[:], e.Time, t.tenant[:], t.tenant[:],
				"TIMESERIES", "DEVICE", "TIMESERIES_UPDATED")
		}
		if err != nil {
			return err
		}
	}
	return t.do(t.commit)
}

// markAcked marks, in the transaction under way, the events acknowledged since the last call; every
// deleteEvery events it deletes the marked ones.
func (t *table) markAcked() error {
	if t.acked == t.marked {
		return nil
	}
	if err := t.do(t.update, t.marked, t.acked); err != nil {
		return err
	}
	t.marked = t.acked
	if t.marked-t.gone < deleteEvery {
		return nil
	}
	if err := t.do(t.remove, t.gone, t.marked); err != nil {
		return err
	}
	t.gone = t.marked
	return nil
}

func (t *table) drain(n int) (int, error) {
	t.row[0].Value, t.row[1].Value = t.read, int64(n)
	rows, err := t.pick.QueryContext(context.Background(), t.row[:2])
	if err != nil {
		return 0, err
	}
	var v [6]driver.Value
	count := 0
	for {
		if err := rows.Next(v[:]); err == io.EOF {
			break
		} else if err != nil {
			rows.Close()
			return count, err
		}
		if t.read++; v[0] != t.read || v[1] != t.read || len(v[2].([]byte)) != fragment {
			rows.Close()
			return count, fmt.Errorf("event %v instead of %d", v[0], t.read)
		}
		count++
	}
	if err := rows.Close(); err != nil {
		return count, err
	}
	t.acked = t.read
	if t.kind == lean {
		return count, nil
	}
	if err := t.do(t.begin); err != nil {
		return count, err
	}
	if err := t.markAcked(); err != nil {
		return count, err
	}
	return count, t.do(t.commit)
}

func (t *table) pending() (int, error) {
	t.row[0].Value = t.acked
	rows, err := t.count.QueryContext(context.Background(), t.row[:1])
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var v [1]driver.Value
	if err := rows.Next(v[:]); err != nil {
		return 0, err
	}
	return int(v[0].(int64)), nil
}

func (t *table) close() error { return t.conn.Close() }
