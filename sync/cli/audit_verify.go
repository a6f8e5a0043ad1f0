package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"edgesync/wal"
)

// verdict counts what became of the lines of an audit.
type verdict struct {
	agree, gone, differ int
	ended               bool
	oldest              string // file of the queue
}

// verifyAudit compares an audit with itself, and with the queue.
func (t *tool) verifyAudit(dir, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(make([]byte, 0, auditLine), auditLine)
	v := verdict{oldest: oldestSegment(filepath.Join(dir, "queue"))}
	sum := newChain()
	for n := 0; in.Scan(); n++ {
		line := in.Text()
		if n == 0 && line != auditTitle {
			break
		}
		if v.ended {
			v.say(t, "behind the end", "differs: there is more")
			break
		}
		at := strings.LastIndexByte(line, ' ') + 1
		if !isSum(line[at:]) || at == 0 {
			sum.Write(in.Bytes())
			sum.Write([]byte("\n"))
			continue
		}
		sum.Write(in.Bytes()[:at])
		t.verifyLine(&v, filepath.Join(dir, "queue"), strings.Fields(line[:at]), line[at:] == sum.next())
	}
	switch err := in.Err(); {
	case err != nil:
		return fmt.Errorf("read %s: %w", strconv.Quote(file), err)
	case v.agree+v.gone+v.differ == 0:
		return fmt.Errorf("%s is no audit: one begins with the line %q, and has sums", strconv.Quote(file), auditTitle)
	case !v.ended:
		v.say(t, auditEnd, "differs: it is missing")
	}
	fmt.Fprintf(t.stdout, "%d agree, %d gone, %d differ\n", v.agree, v.gone, v.differ)
	if v.differ > 0 {
		return errors.New("the audit, or the queue, is not what it was")
	}
	return nil
}

func (v *verdict) say(t *tool, what, how string) {
	switch {
	case strings.HasPrefix(how, "differs"):
		v.differ++
	case how == "gone":
		v.gone++
	default:
		v.agree++
	}
	fmt.Fprintf(t.stdout, "%-20s  %s\n", what, how)
}

// oldestSegment is the name of the oldest file of a queue; "" if there is none.
func oldestSegment(queue string) string {
	list, _ := os.ReadDir(queue) // sorted; of a queue that does not read each file says why
	for _, e := range list {
		if wal.IsSegment(e.Name()) {
			return e.Name()
		}
	}
	return ""
}

// verifyLine judges a line that ends with a sum; same says that the sum is that of the text.
func (t *tool) verifyLine(v *verdict, queue string, words []string, same bool) {
	what, how := printable(words[0]), "agrees"
	v.ended = words[0] == auditEnd
	switch {
	case !same:
		how = "differs: the text up to here was changed"
	case len(words) == 1:
	case len(words) != 7 || !wal.IsSegment(words[0]):
		how = "differs: it is no line of an audit"
	default:
		bytes, err := strconv.ParseInt(words[5], 10, 64)
		sum := ""
		if err == nil {
			sum, err = sumOf(filepath.Join(queue, words[0]), bytes)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist) && words[0] < v.oldest:
			how = "gone"
		case errors.Is(err, fs.ErrNotExist):
			how = "differs: it is missing, while older ones are there"
		case err != nil:
			how = "differs: " + printable(err.Error())
		case sum != words[6]:
			how = "differs: the file was changed, thinned or repaired"
		}
	}
	v.say(t, what, how)
}
