//go:build boot

package boot

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a job gets; the words of inside.
const (
	served  = "served"
	direct  = "direct"
	refused = "refused"
	failed  = "failed"
)

// job connects once.
func (m *machine) job(t *testing.T) string {
	t.Helper()
	word, why, _ := strings.Cut(m.do(t, "setpriv --reuid runner --clear-groups inside job"), " ")
	if word == failed {
		t.Log(why)
	}
	return word
}

func (m *machine) want(t *testing.T, want, when string) {
	t.Helper()
	if got := m.job(t); got != want {
		t.Fatalf("a job is %s %s, not %s\n%s", got, when, want, m.logOf(t, "sluice-agent"))
	}
}

// connecting is a unit whose process connects all the time.
type connecting struct {
	m    *machine
	unit string
}

func (m *machine) connectAlways(t *testing.T) connecting {
	t.Helper()
	c := connecting{m, fmt.Sprintf("jobs%d", time.Now().UnixNano())}
	m.do(t, fmt.Sprintf("systemd-run --quiet --remain-after-exit --unit=%s --uid=runner /usr/local/bin/inside jobs /tmp/%s", c.unit, c.unit))
	return c
}

// seen is what the connections of one got: how many of each, and what followed
// what.
type seen struct {
	counts map[string]int
	order  []string
	log    string
}

func (c connecting) end(t *testing.T) seen {
	t.Helper()
	c.m.do(t, "touch /tmp/"+c.unit)
	c.m.do(t, fmt.Sprintf("while systemctl show -P SubState %s | grep -q running; do sleep 0.2; done", c.unit))
	s := seen{counts: map[string]int{}, log: c.m.do(t, "journalctl -o cat --no-pager _SYSTEMD_UNIT="+c.unit+".service")}
	for line := range strings.Lines(s.log) {
		line = strings.TrimSpace(line)
		if outcome, ok := strings.CutPrefix(line, "then "); ok {
			word, _, _ := strings.Cut(outcome, " ")
			s.order = append(s.order, word)
		}
		if word, count, ok := strings.Cut(line, "="); ok {
			n, err := strconv.Atoi(count)
			if err != nil {
				continue
			}
			s.counts[word] = n
		}
	}
	t.Logf("%v\n%s", s.counts, s.log)
	return s
}

func (m *machine) logOf(t *testing.T, unit string) string {
	t.Helper()
	return m.do(t, "journalctl -b -o short-monotonic --no-pager -n 30 -u "+unit)
}

// property returns one of a unit's.
func (m *machine) property(t *testing.T, unit, name string) string {
	t.Helper()
	return m.do(t, "systemctl show -P "+name+" "+unit)
}

// eventually waits for a command to succeed.
func (m *machine) eventually(t *testing.T, command string) {
	t.Helper()
	out, status := m.try(t, "for _ in $(seq 300); do { "+command+"; } >/dev/null 2>&1 && exit; sleep 0.5; done; "+command)
	if status != 0 {
		t.Fatalf("not in time: %s\n%s\n%s", command, out, m.logOf(t, "sluice-agent"))
	}
}
