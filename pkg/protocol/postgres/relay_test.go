package postgres_test

import (
	"strings"
	"testing"
)

func TestStatementIsRelayed(t *testing.T) {
	p := startProxy(t, realServer(t), proxyOptions{})
	out, errs, code := p.psql(t, "-At", "-c", "SELECT 40+2", "-c", "SHOW application_name", "-c", "SELECT current_user")
	if code != 0 || !strings.HasPrefix(out, "42\nsluice/") || !strings.HasSuffix(out, "\napp\n") {
		t.Fatalf("psql exited %d with %q, %q", code, out, errs)
	}
}
