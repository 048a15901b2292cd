package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDeadAgentRefusesAtOnce(t *testing.T) {
	if r := run("kill", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	r := run("job", "--", "sh", "-c", `s=$(date +%s%N); psql -h pg.lab -U app -c "SELECT 1" shop; e=$(date +%s%N); echo "took $(((e - s) / 1000000)) ms"`)
	contains(t, r.all(), "Connection refused")
	if r := run("start", "agent"); r.code != 0 {
		t.Fatal(r.all())
	}
	if r := psql("SELECT 'back'"); strings.TrimSpace(r.out) != "back" {
		t.Errorf("after the agent came back: %s", r.all())
	}
}

func TestCollectorAwayLosesNothing(t *testing.T) {
	if r := run("kill", "collector"); r.code != 0 {
		t.Fatal(r.all())
	}
	marker := "marker_" + time.Now().Format("150405")
	if r := psql("SELECT 1 AS " + marker); r.code != 0 {
		t.Errorf("a read needs no collector: %s", r.all())
	}
	if r := run("start", "collector"); r.code != 0 {
		t.Fatal(r.all())
	}
	eventually(t, "what happened meanwhile is found", func() bool {
		return strings.Contains(ctl(t, "search", marker), "SELECT")
	})
	ctl(t, "verify")
}

func TestUnreachableServerIsANativeError(t *testing.T) {
	var state struct{ Node string }
	text, err := os.ReadFile(filepath.Join(lab.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	server := func(way string) {
		t.Helper()
		if out, err := exec.Command("ip", "-n", state.Node, "link", "set", "pg", way).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	server("down")
	r := psql("SELECT 1")
	server("up")
	contains(t, r.errs, "FATAL:", "the server cannot be reached")
	eventually(t, "the server is back", func() bool { return psql("SELECT 1").code == 0 })
}

func TestOversizedStatementIsRefused(t *testing.T) {
	began := time.Now()
	r := run("job", "--", "sh", "-c", `{ printf "SELECT length('"; head -c 17000000 /dev/zero | tr '\0' a; printf "');\n"; } | psql -h pg.lab -U app shop`)
	contains(t, r.errs, "FATAL:", "larger than the limit")
	s := newest(t, began, func(sessionView) bool { return true })
	contains(t, ctl(t, "show", s.ID), "violation")
}

func TestMetricsPageCountsWhatTheKernelDid(t *testing.T) {
	if r := psql("SELECT 1"); r.code != 0 {
		t.Fatal(r.all())
	}
	console := labStatus(t).Console
	host, _, found := strings.Cut(strings.TrimPrefix(console, "http://"), ":")
	if !found {
		t.Fatalf("no address in %q", console)
	}
	answer, err := http.Get("http://" + host + ":9402/metrics")
	if err != nil {
		t.Fatal(err)
	}
	page, err := io.ReadAll(answer.Body)
	if err := errors.Join(err, answer.Body.Close()); err != nil {
		t.Fatal(err)
	}
	contains(t, string(page), `sluice_interception_total{branch="connect_redirected"}`, "sluice_spool_bytes", "sluice_bus_connected 1")
}

// labStatus is what scripts/lab status --json says.
func labStatus(t *testing.T) (status struct{ Console string }) {
	t.Helper()
	if err := json.Unmarshal([]byte(run("status", "--json").out), &status); err != nil {
		t.Fatal(err)
	}
	return status
}

// TestPacketOnesOwnIsStoppedAndSeen sends what no socket hook sees: a raw TCP
// segment to the server, which Docker's default capabilities allow.
func TestPacketOnesOwnIsStoppedAndSeen(t *testing.T) {
	const raw = `
import socket, struct
to = socket.gethostbyname("pg.lab")
syn = struct.pack("!HHLLBBHHH", 40000, 5432, 1, 0, 5 << 4, 2, 1024, 0, 0)
socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP).sendto(syn, (to, 0))
`
	r := run("job", "--", "/usr/bin/python3", "-c", raw)
	contains(t, r.all(), "PermissionError")
	eventually(t, "the alert is a finding", func() bool {
		return strings.Contains(ctl(t, "findings"), "alert-packets_dropped")
	})
}
