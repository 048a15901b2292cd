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
	"path/filepath"
	"runtime"
	"slices"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is one to be made.
type Image struct {
	Name       string
	Files      map[string]string // what to copy, by the path in the image
	Entrypoint []string
	Cmd        []string
}

// Import makes an image.
func (d *Daemon) Import(ctx context.Context, image Image) error {
	name := image.Name
	layer, err := layerOf(image.Files)
	if err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	archive, err := archiveOf(image, layer)
	if err != nil {
		return fmt.Errorf("make image %s: %w", name, err)
	}
	cmd := exec.CommandContext(ctx, "ctr", "--address", d.Socket(), "--namespace", "k8s.io", "images", "import", "--snapshotter", "native", "-")
	cmd.Stdin = bytes.NewReader(archive)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("import image %s: %w\n%s", name, err, out)
	}
	return d.waitImage(ctx, name)
}

// waitImage waits until CRI knows an image: it is told of it a moment later.
func (d *Daemon) waitImage(ctx context.Context, name string) error {
	_, conn, err := d.Runtime()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // nothing is under way
	client := cri.NewImageServiceClient(conn)
	return until(ctx, func() (bool, error) {
		status, err := client.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: name}})
		return status.GetImage() != nil, err
	})
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
	return d.Import(ctx, Image{Name: PauseImage, Files: map[string]string{"pause": program}, Entrypoint: []string{"/pause"}})
}

func layerOf(files map[string]string) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	paths := slices.Sorted(maps.Keys(files))
	for _, name := range paths {
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
func archiveOf(image Image, layer []byte) ([]byte, error) {
	sum := sha256.Sum256(layer)
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux",
		"config": map[string]any{"Entrypoint": image.Entrypoint, "Cmd": image.Cmd},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + hex.EncodeToString(sum[:])}},
	})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{image.Name}, "Layers": []string{"layer.tar"}}})
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
