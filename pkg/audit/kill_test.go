package audit_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/audit"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/spool"
	"github.com/sluicegate/sluice/pkg/translog"
)

// TestKilledAgentLosesNoForwardedOperation runs this test again as a child that
// reports each operation when its intent is recorded, as if it forwarded it
// then, kills it under load, and looks for every one in the log.
func TestKilledAgentLosesNoForwardedOperation(t *testing.T) {
	if dir := os.Getenv("AUDIT_TEST_DIR"); dir != "" {
		forwardForEver(dir)
		return
	}
	dir := t.TempDir()
	c := newCollector(t, newKeys(t))
	skey, vkey, err := translog.GenerateKey(translog.AgentKeyName(cluster, agent))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "key"), []byte(skey), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, "collector"), []byte(c.keys.logPub), 0o600))
	c.keys.agent, err = translog.NewSigner(skey)
	must(t, err)
	c.keys.agentPub = vkey
	c.verifier, err = translog.NewVerifier(vkey)
	must(t, err)

	forwarded := 0
	for range 3 {
		forwarded += killUnderLoad(t, dir)
	}
	r := start(t, filepath.Join(dir, "spool"), c)
	eventually(t, "every receipt", func() bool { return r.Pending() == 0 })
	must(t, r.stop())
	expectOK(t, c.verify(t, translog.Scope{Kind: translog.WholeLog}))
	intents := 0
	for _, h := range c.headers(t) {
		if h.Intent != nil {
			intents++
		}
	}
	if intents < forwarded {
		t.Errorf("%d operations were forwarded and %d are in the log", forwarded, intents)
	}
}

// killUnderLoad returns how many operations the child reported.
func killUnderLoad(t *testing.T, dir string) int {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestKilledAgentLosesNoForwardedOperation$")
	child.Env = append(os.Environ(), "AUDIT_TEST_DIR="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	reported := make([]byte, 4*3000)
	for n := 0; n < len(reported); {
		m, err := out.Read(reported[n:])
		must(t, err)
		n += m
	}
	must(t, child.Process.Kill())
	var rest bytes.Buffer
	_, err = rest.ReadFrom(out)
	must(t, err)
	_ = child.Wait() // killed
	return (len(reported) + rest.Len()) / 4
}

func forwardForEver(dir string) {
	check := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	skey, err := os.ReadFile(filepath.Join(dir, "key"))
	check(err)
	signer, err := translog.NewSigner(string(skey))
	check(err)
	vkey, err := os.ReadFile(filepath.Join(dir, "collector"))
	check(err)
	collector, err := translog.NewVerifier(string(vkey))
	check(err)
	sp, err := spool.Open(spool.Config{Dir: filepath.Join(dir, "spool"), Segment: 1 << 20, Limit: 256 << 20})
	check(err)
	away := errors.New("the bus is away")
	l, err := audit.Open(audit.Config{
		Spool: sp, Signer: signer, Collector: collector, Cluster: cluster, Agent: agent, Log: zap.NewNop(),
		Publish: func(context.Context, []byte, []byte) error { return away },
		Sync:    func(context.Context, []byte) ([]byte, error) { return nil, away },
	})
	check(err)
	go func() { check(l.Run(context.Background())) }()
	s, err := l.Session(&session.Session{ID: session.NewID()})
	check(err)
	for i := uint32(1); ; i++ {
		op := operation.Operation{ID: uint64(i), Text: operation.Text("SELECT 1")}
		check(s.Intent(&op, record.Intent{Effect: "allow"}, false))
		_, err := os.Stdout.Write(binary.BigEndian.AppendUint32(nil, i))
		check(err)
	}
}
