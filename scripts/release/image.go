package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Media types of the OCI image format 1.1.
const (
	mediaIndex    = "application/vnd.oci.image.index.v1+json"
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	mediaConfig   = "application/vnd.oci.image.config.v1+json"
	mediaLayer    = "application/vnd.oci.image.layer.v1.tar+gzip"
)

// nobody owns the data directory of the image, and runs it.
const nobody = 65534

// blob names a piece of an image by its SHA-256.
type blob struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"`
	Size        int64             `json:"size"`
	Platform    *platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// layout is an OCI image layout in memory: the names and contents of its files.
type layout map[string][]byte

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// add puts a blob into the layout.
func (l layout) add(mediaType string, data []byte) blob {
	l["blobs/sha256/"+digest(data)] = data
	return blob{MediaType: mediaType, Digest: "sha256:" + digest(data), Size: int64(len(data))}
}

// addJSON puts the JSON of a document into the layout.
func (l layout) addJSON(mediaType string, document any) (blob, error) {
	data, err := json.Marshal(document)
	return l.add(mediaType, data), err
}

// image writes the image of all platforms as one tar file, in which the layout lies.
func (r *release) image(list []target) error {
	l := layout{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	var manifests []blob
	for _, t := range list {
		if t.image.OS == "" {
			continue
		}
		m, err := r.manifest(l, t)
		if err != nil {
			return err
		}
		manifests = append(manifests, m)
	}
	if len(manifests) == 0 {
		return nil
	}
	index, err := l.addJSON(mediaIndex, map[string]any{"schemaVersion": 2, "mediaType": mediaIndex, "manifests": manifests})
	if err != nil {
		return err
	}
	// A tag holds no "+".
	index.Annotations = map[string]string{"org.opencontainers.image.ref.name": strings.ReplaceAll(r.version.people, "+", "-")}
	if l["index.json"], err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": mediaIndex, "manifests": []blob{index},
	}); err != nil {
		return err
	}
	return r.writeTar(l)
}

// manifest adds the image of one platform and returns its manifest.
func (r *release) manifest(l layout, t target) (blob, error) {
	plain, err := r.layer(t)
	if err != nil {
		return blob{}, err
	}
	packed, err := gzipped(plain)
	if err != nil {
		return blob{}, err
	}
	created := r.time.Format(time.RFC3339)
	config, err := l.addJSON(mediaConfig, map[string]any{
		"created": created, "architecture": t.image.Architecture, "os": t.image.OS, "variant": t.image.Variant,
		"config": map[string]any{
			"User": strconv.Itoa(nobody), "Entrypoint": []string{"/edgesync"}, "Cmd": []string{"run"}, "WorkingDir": "/data",
			"Env":          []string{"EDGESYNC_DATA_DIR=/data"},
			"ExposedPorts": map[string]any{"8080/tcp": struct{}{}, "1883/tcp": struct{}{}},
			"Volumes":      map[string]any{"/data": struct{}{}},
			"StopSignal":   "SIGTERM",
			"Labels":       r.labels(),
			// Docker and podman read it; the OCI has no word for it.
			"Healthcheck": map[string]any{
				"Test": []string{"CMD", "/edgesync", "status"}, "Interval": int64(time.Minute), "Timeout": int64(10 * time.Second),
			},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest(plain)}},
		"history": []any{map[string]any{"created": created, "created_by": "make release"}},
	})
	if err != nil {
		return blob{}, err
	}
	m, err := l.addJSON(mediaManifest, map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "config": config, "layers": []blob{l.add(mediaLayer, packed)},
		"annotations": r.labels(),
	})
	m.Platform = &t.image
	return m, err
}

func (r *release) labels() map[string]string {
	return map[string]string{
		"org.opencontainers.image.title": "edgesync", "org.opencontainers.image.version": r.version.people,
		"org.opencontainers.image.licenses": "Apache-2.0", "org.opencontainers.image.created": r.time.Format(time.RFC3339),
	}
}

// layer is the only layer of an image: the binary, the authorities to trust, and the data
// directory.
func (r *release) layer(t target) ([]byte, error) {
	binary, err := os.ReadFile(r.binary(t))
	if err != nil {
		return nil, err
	}
	authorities, err := os.ReadFile(r.ca)
	if err != nil {
		return nil, fmt.Errorf("the certificates of the image: %w", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []struct {
		name  string
		mode  int64
		owner int
		data  []byte
	}{
		{"data/", 0o700, nobody, nil},
		{"edgesync", 0o755, 0, binary},
		{"etc/", 0o755, 0, nil},
		{"etc/ssl/", 0o755, 0, nil},
		{"etc/ssl/certs/", 0o755, 0, nil},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, 0, authorities},
	} {
		if err := r.writeEntry(w, h.name, h.mode, h.owner, h.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeEntry writes a file of a tar, or a directory if its name ends in a slash.
func (r *release) writeEntry(w *tar.Writer, name string, mode int64, owner int, data []byte) error {
	h := &tar.Header{Name: name, Mode: mode, Uid: owner, Gid: owner, Size: int64(len(data)), ModTime: r.time, Format: tar.FormatUSTAR}
	h.Typeflag = tar.TypeReg
	if strings.HasSuffix(name, "/") {
		h.Typeflag = tar.TypeDir
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// writeTar writes the layout as an archive that skopeo, podman and docker read.
func (r *release) writeTar(l layout) error {
	out, err := os.Create(filepath.Join(r.out, "edgesync_"+r.version.people+"_oci.tar"))
	if err != nil {
		return err
	}
	defer out.Close()
	var names []string
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	w := tar.NewWriter(out)
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := r.writeEntry(w, dir, 0o755, 0, nil); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := r.writeEntry(w, name, 0o644, 0, l[name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}

// gzipped packs data without a name and a time, which would differ from build to build.
func gzipped(data []byte) ([]byte, error) {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
