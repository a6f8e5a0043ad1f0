package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"edgesync/proto"
	"edgesync/wal/disk"
)

// The binary of an OTA package is a file of its own, DIR/ota/ID; the record holds the rest of its
// JSON. The file is written before the record, and a file without a record is removed at open.

// maxOTA bounds the binaries of all packages in bytes.
const maxOTA = 32 << 20

func (r *Registry) otaPath(id proto.UUID) string {
	return filepath.Join(r.o.Dir, "ota", proto.FormatUUID(id))
}

// applyOTA keeps a package. Its data, megabytes of base64 inside the JSON, goes to the file in
// small pieces and is never decoded as a whole.
func (r *Registry) applyOTA(u *proto.OtaPackageUpdateMsg) (bool, error) {
	id := proto.UUIDOf(u.GetIdMSB(), u.GetIdLSB())
	if u.GetMsgType() == proto.UpdateMsgType_ENTITY_DELETED_RPC_MESSAGE {
		r.dropOTA(id)
		there, err := r.removeEntity(otaPackages, id)
		return there, errors.Join(err, r.announcePackage(id))
	}
	if !r.keeps(otaPackages.keep) {
		return false, nil
	}
	r.mark(otaPackages, id)
	rest, data, ok := cutString(u.GetEntity(), "data")
	if !ok || !validObject(rest) {
		return false, errMalformed
	}
	var j struct {
		Checksum  string `json:"checksum"`
		Algorithm string `json:"checksumAlgorithm"`
		Size      int64  `json:"dataSize"`
	}
	if json.Unmarshal(rest, &j) != nil {
		return false, errMalformed
	}
	key := otaPackages.key(id)
	if r.same(key, rest) {
		if st, err := os.Stat(r.otaPath(id)); data == "" || err == nil && st.Size() == j.Size {
			return true, nil // every full sync brings it again
		}
	}
	if data != "" {
		if err := r.writeOTA(id, data, j.Size, j.Algorithm, j.Checksum); err != nil {
			return false, err
		}
	} else {
		r.dropOTA(id)
	}
	if err := r.put(key, rest); err != nil {
		return false, err
	}
	return true, r.announcePackage(id)
}

// writeOTA decodes data into the package's file: complete and checked, or not at all.
func (r *Registry) writeOTA(id proto.UUID, data string, size int64, algorithm, checksum string) (err error) {
	dir := filepath.Join(r.o.Dir, "ota")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	for _, path := range [...]string{r.otaPath(id), r.otaPath(id) + disk.Temp} {
		if err := disk.MakeWay(path, disk.File, r.o.CorruptDir, r.log); err != nil {
			return fmt.Errorf("registry: %w", err)
		}
	}
	if r.otaBytes(id)+int64(base64.StdEncoding.DecodedLen(len(data))) > maxOTA {
		r.log.Warn("no room for an OTA package", "bytes", size, "limit", maxOTA)
		return errFull
	}
	var wrote int64
	err = disk.ReplaceFunc(r.otaPath(id), func(w io.Writer) error {
		sum := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, sum), base64.NewDecoder(base64.StdEncoding, strings.NewReader(data)))
		wrote = n
		var corrupt base64.CorruptInputError
		if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) ||
			err == nil && (size > 0 && n != size || algorithm == "SHA256" &&
				!strings.EqualFold(checksum, hex.EncodeToString(sum.Sum(nil)))) {
			return errMalformed
		}
		return err
	})
	r.o.Meter.Add(0, wrote, 2)
	if err != nil && err != errMalformed {
		return fmt.Errorf("registry: %w", err)
	}
	return err
}

// otaBytes is the size of the files of all packages but one.
func (r *Registry) otaBytes(but proto.UUID) (n int64) {
	for _, id := range r.idsOf(otaPackages) {
		if st, err := os.Stat(r.otaPath(id)); err == nil && id != but {
			n += st.Size()
		}
	}
	return n
}

func (r *Registry) dropOTA(id proto.UUID) {
	if err := os.Remove(r.otaPath(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("an OTA package cannot be removed", "error", err)
	}
}

func (r *Registry) dropAllOTA() {
	files, _ := os.ReadDir(filepath.Join(r.o.Dir, "ota"))
	for _, f := range files {
		if id, ok := proto.ParseUUID(f.Name()); ok {
			r.dropOTA(id)
		}
	}
}

// loadOTA removes files without a record, which a crash may leave, and sets aside what is no file.
// A record without its file comes again with the next full sync.
func (r *Registry) loadOTA() {
	dir := filepath.Join(r.o.Dir, "ota")
	if err := disk.MakeWay(dir, disk.Dir, r.o.CorruptDir, r.log); err != nil {
		r.log.Warn("OTA packages cannot be kept", "error", err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, f := range files {
		if err := disk.MakeWay(filepath.Join(dir, f.Name()), disk.File, r.o.CorruptDir, r.log); err != nil {
			r.log.Warn("an OTA package cannot be kept", "error", err)
		}
		id, ok := proto.ParseUUID(f.Name())
		if !ok || !r.has(otaPackages.key(id)) {
			os.Remove(filepath.Join(dir, f.Name()))
		}
	}
}

// OTA is what is known of a package: ThingsBoard's JSON without its data, and the path of the file
// with its binary ("" if there is none: then the JSON names a URL). Any goroutine.
func (r *Registry) OTA(id proto.UUID) (info []byte, path string, ok bool) {
	info, ok = r.get(otaPackages.key(id))
	if !ok {
		return nil, "", false
	}
	if _, err := os.Stat(r.otaPath(id)); err == nil {
		path = r.otaPath(id)
	}
	return info, path, true
}

// cutString takes the string value of a field at the top level out of a JSON object. rest is the
// object with null instead, value the text between the quotes as it stands there. A field that is
// absent or null gives "". Nothing of value is copied.
func cutString(text, field string) (rest []byte, value string, ok bool) {
	depth, i := 0, 0
	name := `"` + field + `"`
	for i < len(text) {
		switch c := text[i]; {
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			depth--
			i++
		case c == '"':
			end := stringEnd(text, i)
			if end < 0 {
				return nil, "", false
			}
			at := skipSpace(text, end)
			if depth != 1 || text[i:end] != name || at >= len(text) || text[at] != ':' {
				i = end
				continue
			}
			start := skipSpace(text, at+1)
			if start >= len(text) || text[start] != '"' {
				return []byte(text), "", len(text) <= maxEntity
			}
			stop := stringEnd(text, start)
			if stop < 0 || len(text)-(stop-start) > maxEntity {
				return nil, "", false
			}
			var b bytes.Buffer
			b.WriteString(text[:start])
			b.WriteString("null")
			b.WriteString(text[stop:])
			return b.Bytes(), text[start+1 : stop-1], true
		default:
			i++
		}
	}
	return []byte(text), "", len(text) <= maxEntity
}

// stringEnd is the index behind the string that begins at i; -1 if it has no end.
func stringEnd(text string, i int) int {
	for i++; i < len(text); {
		j := strings.IndexAny(text[i:], `"\`)
		if j < 0 {
			return -1
		}
		if i += j; text[i] == '"' {
			return i + 1
		}
		i += 2
	}
	return -1
}

func skipSpace(text string, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}
