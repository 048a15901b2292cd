package postgres_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDumpHoldsMaskedValues dumps a database with masks, as statements and as
// COPY.
func TestDumpHoldsMaskedValues(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	for _, option := range []string{"--no-owner", "--inserts"} {
		cmd := exec.Command(filepath.Join(binaries(), "pg_dump"), option, "-t", "customers", "-t", "orders", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", "job", "shop")
		cmd.Env = append(os.Environ(), "PGPASSWORD=x")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "name3") || !strings.Contains(string(out), "[redacted]") || !strings.Contains(string(out), "item3") {
			t.Errorf("pg_dump %s: %v: %s", option, err, out)
		}
		if found := leaked(out, ""); found != "" {
			t.Errorf("the dump holds %s", found)
		}
	}
}
