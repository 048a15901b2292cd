package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
)

func TestQuestionsAreBounded(t *testing.T) {
	p, client := joined(t, Files{}, attribution.Local(attribution.Config{}))
	var arrived atomic.Uint64
	p.budget.mu.Lock()
	p.budget.arrived = func() (uint64, error) { return arrived.Load(), nil }
	p.budget.mu.Unlock()
	var refused error
	asked := 0
	for ; refused == nil && asked < 2*questionsSaved; asked++ {
		_, refused = client.Sources("", "", "").Cgroups(t.Context(), os.Getpid())
	}
	if refused == nil || refused.Error() != errTooMany.Error() || asked < questionsSaved {
		t.Fatalf("after %d questions: %v", asked, refused)
	}
	arrived.Add(1)
	if _, err := client.Sources("", "", "").Cgroups(t.Context(), os.Getpid()); err != nil {
		t.Errorf("a connection brings no questions: %v", err)
	}
}

// TestMountsAreThoseOfTheRuntime asks for the list of whoever listens at the
// runtime's socket, which is this process.
func TestMountsAreThoseOfTheRuntime(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "cri.sock")
	listener, err := net.Listen("unix", socket)
	must(t, err)
	later(t, listener.Close)
	p, client := joined(t, Files{}, attribution.Local(attribution.Config{CRISocket: socket}))
	p.budget.mu.Lock()
	p.budget.left, p.budget.at, p.budget.arrived = mountsCost, time.Now().Add(time.Hour), func() (uint64, error) { return 0, nil }
	p.budget.mu.Unlock()
	want, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	got, err := client.Sources("", "", "").Mounts(t.Context())
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	if _, err := client.Sources("", "", "").Mounts(t.Context()); err == nil || err.Error() != errTooMany.Error() {
		t.Errorf("a second time: %v", err)
	}
}

// TestEnginesAreToldApart asks two of them for what has one id.
func TestEnginesAreToldApart(t *testing.T) {
	id := strings.Repeat("a", containerIDSize)
	source := func(what string) func(context.Context, attribution.Engine, string) ([]byte, error) {
		return func(_ context.Context, of attribution.Engine, id string) ([]byte, error) {
			return fmt.Appendf(nil, "%s %s %s", of, what, id), nil
		}
	}
	_, client := joined(t, Files{}, attribution.Sources{Container: source("container"), Image: source("image")})
	sources := client.Sources("", "", "")
	for _, of := range []attribution.Engine{attribution.Docker, attribution.Podman} {
		container, err := sources.Container(t.Context(), of, id)
		must(t, err)
		image, err := sources.Image(t.Context(), of, id)
		must(t, err)
		if want := of.String(); string(container) != want+" container "+id || string(image) != want+" image "+id {
			t.Errorf("%s: %q and %q", of, container, image)
		}
	}
}

func TestOnlyWhatIsNamedIsOpened(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	named, other := filepath.Join(dir, "named"), filepath.Join(dir, "other")
	for _, path := range []string{named, other} {
		must(t, os.WriteFile(path, []byte("secret"), 0o600))
	}
	_, client := joined(t, Files{Secrets: []string{named}, Tokens: []string{filepath.Join(dir, "{container_id}")}}, attribution.Local(attribution.Config{}))
	for _, path := range []string{other, "/etc/shadow", "/proc/1/mem", named + "/", dir + "/./named", dir + "/../" + filepath.Base(dir) + "/named"} {
		if file, err := client.Open(t.Context(), path); err == nil {
			t.Errorf("%s is open: %v", path, file.Close())
		}
	}
	file, err := client.Open(t.Context(), named)
	must(t, err)
	defer file.Close()
	if text, err := io.ReadAll(file); err != nil || string(text) != "secret" {
		t.Errorf("%q, %v", text, err)
	}
	if _, err := client.Open(t.Context(), filepath.Join(dir, "0a1b")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a token that is not there: %v", err)
	}
}

func TestOnlyProcessesThatConnectedAreShown(t *testing.T) {
	n := newNode(t, nil)
	_, client, accepted := n.accepting(t)
	for _, pid := range []int{1, os.Getpid()} { // neither has connected
		if _, err := client.Sources("", "", "").Process(t.Context(), uint32(pid), started(t, pid)); err == nil || err.Error() != errNeverAsked.Error() {
			t.Errorf("before it connected: %v", err)
		}
	}
	_ = n.dial(t)
	origin := next(t, accepted).Origin
	found, err := client.Sources("", "", "").Process(t.Context(), origin.PID, origin.Started)
	must(t, err)
	defer found.Close()
	if environ, err := io.ReadAll(found.Environ); err != nil || len(environ) == 0 || found.Exe == "" {
		t.Errorf("%q with %d bytes of environment, %v", found.Exe, len(environ), err)
	}
	for what, err := range map[string]error{
		"another process":              second(client.Sources("", "", "").Process(t.Context(), 1, origin.Started)),
		"an earlier one with that pid": second(client.Sources("", "", "").Process(t.Context(), origin.PID, origin.Started.Add(-time.Second))),
	} {
		if err == nil || err.Error() != errNeverAsked.Error() {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// started is when a process did.
func started(t *testing.T, pid int) time.Time {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	must(t, err)
	ticks, err := strconv.ParseInt(strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[19], 10, 64)
	must(t, err)
	booted, err := attribution.BootTime()
	must(t, err)
	return booted.Add(time.Duration(ticks) * 10 * time.Millisecond)
}
