package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// run is a running Log over a spool directory.
type run struct {
	*audit.Log
	spool *spool.Spool
	stop  func() error // seals and closes
	crash func()       // closes the spool under the running log, as a kill would
}

func start(t *testing.T, dir string, c *collector) *run {
	t.Helper()
	return startSized(t, dir, c, 1<<20, 64<<20)
}

// openLog opens a log that nobody runs: nothing is signed or published.
func openLog(t *testing.T, dir string, c *collector, segment, limit int64, change ...func(*audit.Config)) (*audit.Log, *spool.Spool) {
	t.Helper()
	sp, err := spool.Open(spool.Config{Dir: dir, Segment: segment, Limit: limit})
	must(t, err)
	t.Cleanup(func() { _ = sp.Close() })
	verifier, err := translog.NewVerifier(c.keys.logPub)
	must(t, err)
	cfg := audit.Config{
		Spool: sp, Signer: c.keys.agent, Collector: verifier, Cluster: cluster, Agent: agent,
		About: record.Agent{Version: "test", Host: "host", Policy: "00"}, Publish: c.Publish, Sync: c.Sync, Log: zap.NewNop(),
	}
	for _, one := range change {
		one(&cfg)
	}
	l, err := audit.Open(cfg)
	must(t, err)
	return l, sp
}

func startSized(t *testing.T, dir string, c *collector, segment, limit int64) *run {
	t.Helper()
	return startWith(t, dir, c, segment, limit)
}

func startWith(t *testing.T, dir string, c *collector, segment, limit int64, change ...func(*audit.Config)) *run {
	t.Helper()
	l, sp := openLog(t, dir, c, segment, limit, change...)
	return startLog(t, c, l, sp)
}

// carryOn is openLog for an epoch that was begun already.
func carryOn(t *testing.T, dir string, c *collector, segment, limit int64, baton *audit.Baton) (*audit.Log, *spool.Spool) {
	t.Helper()
	return openLog(t, dir, c, segment, limit, func(cfg *audit.Config) { cfg.Baton = baton })
}

// startLog runs a log.
func startLog(t *testing.T, c *collector, l *audit.Log, sp *spool.Spool) *run {
	t.Helper()
	c.set(func() { c.deliver = l.Deliver })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	var once sync.Once
	var stopped error
	r := &run{Log: l, spool: sp}
	r.stop = func() error {
		once.Do(func() {
			cancel()
			stopped = errors.Join(<-done, sp.Close())
		})
		return stopped
	}
	r.crash = func() {
		once.Do(func() {
			must(t, sp.Close())
			cancel()
			<-done
		})
	}
	t.Cleanup(func() { _ = r.stop() })
	return r
}

func openSession(t *testing.T, l *audit.Log, id string) *audit.Session {
	t.Helper()
	s, err := l.Session(&session.Session{ID: id, Resource: "shop-db", Protocol: "postgres", Started: time.Now()})
	must(t, err)
	return s
}

// query writes the records of one operation.
func query(t *testing.T, s *audit.Session, id uint64, text string) {
	t.Helper()
	op := operation.Operation{ID: id, Kind: operation.Statement, Text: operation.Text(text)}
	must(t, s.Intent(&op, record.Intent{Kind: "statement", Parsed: true, Effect: "allow", Policy: "00"}, false))
	must(t, s.Chunk(id, "response", time.Millisecond, []byte("answer")))
	must(t, s.Outcome(id, record.Outcome{Status: "ok", Rows: 1}))
}

// eventually waits for a condition that another goroutine makes true.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func expectOK(t *testing.T, report translog.Report) {
	t.Helper()
	for _, f := range report.Findings {
		t.Errorf("finding: %s", f)
	}
}

func codes(report translog.Report) string {
	var found []string
	for _, f := range report.Findings {
		found = append(found, string(f.Code))
	}
	return strings.Join(found, " ")
}

// reopen tries to carry an epoch on.
func reopen(t *testing.T, dir string, c *collector, baton audit.Baton) error {
	t.Helper()
	sp, err := spool.Open(spool.Config{Dir: dir, Segment: 1 << 20, Limit: 64 << 20})
	must(t, err)
	defer sp.Close()
	verifier, err := translog.NewVerifier(c.keys.logPub)
	must(t, err)
	_, err = audit.Open(audit.Config{
		Spool: sp, Signer: c.keys.agent, Collector: verifier, Cluster: cluster, Agent: agent, Baton: &baton,
		Publish: c.Publish, Sync: c.Sync, Log: zap.NewNop(),
	})
	return err
}
