package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program runs the program with arguments and returns what it printed.
func program(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	root := newRoot(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	return out.String(), err
}

func TestFreshInstallRunsAndStops(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "collector.yaml")
	text := "cluster: test\ndata_dir: data\napi: {listen: \"127.0.0.1:0\"}\nbus: {listen: \"127.0.0.1:0\"}\nlog_level: error\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := program(t.Context(), "run", "--config", file); err == nil || !strings.Contains(err.Error(), "init") {
		t.Errorf("run before init: %v", err)
	}
	out, err := program(t.Context(), "init", "--config", file)
	if err != nil || !strings.Contains(out, "sluice-bootstrap-") {
		t.Fatalf("init: %v\n%s", err, out)
	}
	if _, err := program(t.Context(), "enrol", "--config", file, "--name", "node-1", "--out", filepath.Join(dir, "node-1")); err != nil {
		t.Fatal(err)
	}
	if _, err := program(t.Context(), "enrol", "--config", file, "--name", "node-2"); err == nil {
		t.Error("enrolled without a place for the keys")
	}
	if _, err := program(t.Context(), "reindex", "--config", file); err != nil {
		t.Errorf("reindex: %v", err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := program(ctx, "run", "--config", file); err != nil {
		t.Errorf("run until stopped: %v", err)
	}
}
