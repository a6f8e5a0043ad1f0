package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// holdsImage follows the image from its index to each layer, as one that runs it would.
func holdsImage(t *testing.T, out string) {
	text, err := os.ReadFile(filepath.Join(out, "edgesync_0.9.0+git3_oci.tar"))
	if err != nil {
		t.Fatal(err)
	}
	_, files := unpacked(t, bytes.NewReader(text))
	if files["/oci-layout"] != `{"imageLayoutVersion":"1.0.0"}` {
		t.Errorf("oci-layout %q", files["/oci-layout"])
	}
	read := func(b blob, into any) string {
		t.Helper()
		data := files["/blobs/sha256/"+strings.TrimPrefix(b.Digest, "sha256:")]
		if "sha256:"+digest([]byte(data)) != b.Digest || int64(len(data)) != b.Size {
			t.Fatalf("%s %s is %d bytes with the sum %s", b.MediaType, b.Digest, len(data), digest([]byte(data)))
		}
		if into != nil {
			if err := json.Unmarshal([]byte(data), into); err != nil {
				t.Fatal(err)
			}
		}
		return data
	}
	var top, index struct{ Manifests []blob }
	if err := json.Unmarshal([]byte(files["/index.json"]), &top); err != nil || len(top.Manifests) != 1 {
		t.Fatalf("index.json: %v, %+v", err, top)
	}
	if got := top.Manifests[0].Annotations["org.opencontainers.image.ref.name"]; got != "0.9.0-git3" {
		t.Errorf("the image is called %q", got)
	}
	read(top.Manifests[0], &index)
	var platforms []string
	for _, m := range index.Manifests {
		p := m.Platform
		platforms = append(platforms, strings.TrimSuffix(p.OS+"/"+p.Architecture+"/"+p.Variant, "/"))
		var manifest struct {
			Config blob
			Layers []blob
		}
		read(m, &manifest)
		var config struct {
			Architecture string
			OS, Variant  string
			Config       struct {
				User       string
				Entrypoint []string
			}
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		read(manifest.Config, &config)
		if (platform{config.Architecture, config.OS, config.Variant}) != *p {
			t.Errorf("the configuration of %v is for %s %s", *p, config.Architecture, config.Variant)
		}
		if config.Config.User != "65534" || !slices.Equal(config.Config.Entrypoint, []string{"/edgesync"}) {
			t.Errorf("it runs %q as %q", config.Config.Entrypoint, config.Config.User)
		}
		if len(manifest.Layers) != 1 || len(config.RootFS.DiffIDs) != 1 {
			t.Fatalf("%d layers, want one", len(manifest.Layers))
		}
		plain, err := io.ReadAll(unzipped(t, read(manifest.Layers[0], nil)))
		if err != nil || "sha256:"+digest(plain) != config.RootFS.DiffIDs[0] {
			t.Errorf("the layer's own sum is %s, %v, want %s", digest(plain), err, config.RootFS.DiffIDs[0])
		}
		want := []string{
			"data/ 700 65534", "edgesync 755 0", "etc/ 755 0", "etc/ssl/ 755 0", "etc/ssl/certs/ 755 0",
			"etc/ssl/certs/ca-certificates.crt 644 0",
		}
		var got []string
		for tr := tar.NewReader(bytes.NewReader(plain)); ; {
			h, err := tr.Next()
			if err != nil {
				break
			}
			got = append(got, fmt.Sprintf("%s %o %d", h.Name, h.Mode, h.Uid))
		}
		if !slices.Equal(got, want) {
			t.Errorf("layer %q, want %q", got, want)
		}
	}
	if want := []string{"linux/arm/v6", "linux/arm/v7", "linux/arm64/v8", "linux/amd64", "linux/riscv64"}; !slices.Equal(platforms, want) {
		t.Errorf("platforms %q, want %q", platforms, want)
	}
}
