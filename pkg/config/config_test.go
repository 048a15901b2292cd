package config_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/config"
)

// TestInvalidFilesSayWhatToWrite parses each file of testdata/invalid. The
// file's first lines, "# " and a text each, are the whole error.
func TestInvalidFilesSayWhatToWrite(t *testing.T) {
	for _, file := range files(t, "testdata/invalid/*.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(line, "# ") {
					break
				}
				want = append(want, strings.TrimSpace(line[2:]))
			}
			_, err = config.Parse[config.Agent]("agent.yaml", text)
			if err == nil {
				t.Fatalf("accepted, want\n%s", strings.Join(want, "\n"))
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

func TestValidFilesLoad(t *testing.T) {
	for _, file := range files(t, "testdata/valid/agent*.yaml") {
		if _, err := config.Load[config.Agent](file); err != nil {
			t.Error(err)
		}
	}
}

// files returns what a pattern matches, at least one.
func files(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) == 0 {
		t.Fatalf("no files match %s: %v", pattern, err)
	}
	return found
}

func TestFileOverridesDefaults(t *testing.T) {
	agent, err := config.Load[config.Agent]("testdata/valid/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if agent.Spool.Limit != 256<<20 || agent.Audit.ResponseLimit != 128<<10 || agent.Metrics.Listen.Port() != 9402 {
		t.Errorf("got %+v %+v %+v", agent.Spool, agent.Audit, agent.Metrics)
	}
	small, err := config.Load[config.Agent]("testdata/valid/agent-small.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if small.Cluster != "main" || small.Spool.Limit != 1<<30 || small.Metrics.Listen.IsValid() {
		t.Errorf("defaults: got %+v", small)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	agent, err := config.Load[config.Agent]("testdata/valid/agent.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if agent.SigningKeyFile != "testdata/valid/keys/agent.key" || agent.StateDir != "/var/lib/sluice-agent" {
		t.Errorf("got %s and %s", agent.SigningKeyFile, agent.StateDir)
	}
}

func TestMissingFileIsSaidToBeMissing(t *testing.T) {
	if _, err := config.Load[config.Agent](filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestSizesDurationsAndAddresses(t *testing.T) {
	for text, want := range map[string]config.Size{"0": 0, "12": 12, "64KiB": 64 << 10, "3 MiB": 3 << 20, "1GiB": 1 << 30, "2TiB": 2 << 40} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want {
			t.Errorf("size %q: got %d, %v", text, s, err)
		}
	}
	for _, text := range []string{"", "-1", "1KB", "1.5GiB", "9999999TiB", "KiB", "0x10", "99999999999999999999"} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("size %q: accepted as %d", text, s)
		}
	}
	for text, want := range map[string]string{"1h": "1h", "60m": "1h", "90s": "1m30s", "10m": "10m", "20s": "20s", "0": "0s", "1h0m1s": "1h0m1s"} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err != nil {
			t.Error(err)
		}
		if got, err := d.MarshalText(); err != nil || string(got) != want {
			t.Errorf("%s is written as %s, %v", text, got, err)
		}
	}
	var d config.Duration
	if err := d.UnmarshalText([]byte("90s")); err != nil || time.Duration(d) != 90*time.Second {
		t.Errorf("duration: got %v, %v", d, err)
	}
	for _, text := range []string{"", "-1s", "10", "soon"} {
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("duration %q was accepted", text)
		}
	}
	var a config.Address
	for _, text := range []string{"", ":80", "localhost:80", "192.0.2.1", "192.0.2.1:99999"} {
		if err := a.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("address %q was accepted", text)
		}
	}
	if err := a.UnmarshalText([]byte("[2001:db8::1]:80")); err != nil || a.Port() != 80 {
		t.Errorf("address: got %v, %v", a, err)
	}
}
