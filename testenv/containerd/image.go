package containerd

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Import makes an image of files, by their paths in it; one that is empty is a
// directory. It runs the program of the image's own name at its root.
func (d *Daemon) Import(ctx context.Context, name string, files map[string]string) error {
	layer, err := layerOf(files)
	if err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	archive, err := archiveOf(name, layer)
	if err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	cmd := exec.CommandContext(ctx, "ctr", "--address", d.Socket(), "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", "-")
	cmd.Stdin = bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import image %s: %w\n%s", name, err, out)
	}
	return nil
}

// Build makes a static program of a package of this repository, by its
// directory.
func Build(ctx context.Context, dir, to string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-o", to, ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", dir, err, out)
	}
	return nil
}

func (d *Daemon) importPause(ctx context.Context) error {
	_, self, _, _ := runtime.Caller(0)
	program := d.path("pause")
	if err := Build(ctx, filepath.Join(filepath.Dir(self), "pause"), program); err != nil {
		return err
	}
	return d.Import(ctx, PauseImage, map[string]string{"pause": program})
}

func layerOf(files map[string]string) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	paths := slices.Sorted(maps.Keys(files)) // directories before what is in them
	for _, name := range paths {
		if files[name] == "" {
			if err := w.WriteHeader(&tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755}); err != nil {
				return nil, err
			}
			continue
		}
		text, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		if err := addFile(w, name, text); err != nil {
			return nil, err
		}
	}
	return layer.Bytes(), w.Close()
}

// archiveOf puts one layer into the form of docker save, which is smaller than
// OCI's.
func archiveOf(name string, layer []byte) ([]byte, error) {
	sum := sha256.Sum256(layer)
	repository, _, _ := strings.Cut(name, ":")
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": []string{"/" + path.Base(repository)}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{name}, "Layers": []string{"layer.tar"}}})
	if err != nil {
		return nil, err
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, file := range []struct {
		name string
		text []byte
	}{{"manifest.json", manifest}, {"config.json", config}, {"layer.tar", layer}} {
		if err := addFile(w, file.name, file.text); err != nil {
			return nil, err
		}
	}
	return archive.Bytes(), w.Close()
}

func addFile(w *tar.Writer, name string, text []byte) error {
	if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(text))}); err != nil {
		return err
	}
	_, err := w.Write(text)
	return err
}
