package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// fault is one way to break it.
type fault struct {
	name  string
	large bool // the load has large statements
	short bool // it runs in make test, too
	do    func(t *testing.T)
	want  []string // codes that verification gives from then on, besides those before
}

// TestEveryFaultLosesNothing breaks the lab in every way that there is.
func TestEveryFaultLosesNothing(t *testing.T) {
	do(t, "admin", "pg", "--", "psql", "-qc", "CREATE TABLE load (id bigint); ALTER TABLE load OWNER TO app",
		"-c", "ALTER SYSTEM SET log_statement = 'all'", "-c", "SELECT pg_reload_conf()")
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "FAULT\tSTATEMENTS SERVED\tWITHOUT A RECORD\tRECORDED TWICE\tVERIFY SAYS\tSECONDS")
	defer func() {
		if *long {
			_ = table.Flush()
		}
	}()
	expected := []string{}
	for _, f := range matrix() {
		if !f.short && !*long {
			continue
		}
		ok := t.Run(f.name, func(t *testing.T) {
			began := time.Now()
			from := len(serverLog(t))
			l := startLoad(t, f.large)
			f.do(t)
			healed(t)
			l.end(t)
			expected = append(expected, f.want...)
			j := judge(t, began.Add(-time.Second), serverLog(t)[from:])
			says := "all holds"
			if len(j.codes) > 0 {
				says = strings.Join(j.codes, " ")
			}
			_, _ = fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%s\t%.0f\n", f.name, j.served, j.missing, j.doubled, says, time.Since(began).Seconds())
			t.Logf("%d statements served, %d without a record, %d twice; verify: %s", j.served, j.missing, j.doubled, says)
			if j.served < 20 || j.missing > 0 || j.doubled > 0 {
				t.Errorf("%+v", j)
			}
			slices.Sort(expected)
			if !slices.Equal(slices.Compact(slices.Clone(expected)), j.codes) {
				t.Errorf("verification says %v, not %v", j.codes, expected)
			}
		})
		if !ok {
			break // what follows would judge this one again
		}
	}
}

// healed waits until a job is served again and the collector answers, without
// anybody doing anything.
func healed(t *testing.T) {
	t.Helper()
	eventually(t, "a job is served", func() bool {
		return run("job", "--", "timeout", "10", "psql", "-h", "pg.lab", "-U", "app", "-Atc", "SELECT 1", "shop").err == nil
	})
	eventually(t, "the collector answers", func() bool { return run("ctl", "agents").err == nil })
}

func matrix() []fault {
	all := []fault{
		{name: "nothing", do: func(*testing.T) {}},
		{name: "kill -9 of the agent", do: func(t *testing.T) { killed(t, "agent") }},
		{name: "kill -9 of the collector", do: func(t *testing.T) { killed(t, "collector") }},
		{name: "kill -9 of both, three times", do: func(t *testing.T) {
			for range 3 {
				do(t, "kill", "agent")
				killed(t, "collector")
				started(t, "agent")
				time.Sleep(time.Second) // under load
			}
		}},
	}
	for _, place := range []string{
		"spool.append", "spool.append.torn", "spool.append.done", "spool.sync", "spool.sync.done",
		"audit.signed", "audit.batch.kept", "audit.publish", "audit.published", "audit.seen", "audit.acknowledged",
	} {
		all = append(all, fault{name: "agent's proxy dies at " + place, short: place == "spool.append.torn", do: func(t *testing.T) {
			eventually(t, place+" is reached", armed(t, place))
		}})
	}
	for _, place := range []string{
		"spool.segment.reserved", "spool.segment.written", "spool.segment.made", "spool.last.written", "spool.last.renamed",
		"spool.state.written", "spool.state.renamed", "audit.state.kept", "spool.freed",
	} {
		all = append(all, fault{name: "agent's proxy dies at " + place, do: func(t *testing.T) {
			fired := armed(t, place) // segments are made at a start, and freed soon after it
			do(t, "stop", "agent")
			started(t, "agent")
			eventually(t, place+" is reached", fired)
			if run("status").err == nil && !strings.Contains(run("status").out, "agent      running") {
				started(t, "agent")
			}
		}})
	}
	for _, place := range []string{"ingest.verified", "store.leaf", "store.commit", "store.committed", "ingest.stored", "ingest.receipts", "bus.acknowledge"} {
		all = append(all, fault{name: "collector dies at " + place, short: place == "store.committed", do: func(t *testing.T) {
			eventually(t, place+" is reached", armed(t, place))
			started(t, "collector")
		}})
	}
	return slices.Concat(all, busFaults(), diskFaults(), otherFaults(), storeFaults())
}

// killed kills a program and starts it again.
func killed(t *testing.T, name string) {
	t.Helper()
	do(t, "kill", name)
	started(t, name)
}

// started starts a program; one that dies while it starts is started again, as
// its service manager would.
func started(t *testing.T, name string) {
	t.Helper()
	eventually(t, "the "+name+" runs", func() bool { r := run("start", name); return r.err == nil || strings.Contains(r.all, "runs already") })
}
