package store_test

import (
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/record"
)

func TestPolicyIsOfTheAgentSinceItWorksByIt(t *testing.T) {
	f := open(t)
	begun := time.Now().Add(-time.Hour).UTC().Truncate(time.Millisecond)
	started := func(at time.Time, policy string) collectortest.Record {
		return collectortest.Record{Header: record.Header{
			Type: record.AgentStarted, Time: at, Agent: &record.Agent{Version: "1", Host: "host", Policy: policy},
		}}
	}
	works := func(policy string, since time.Time) {
		t.Helper()
		chains, err := f.Chains(t.Context())
		check(t, err)
		if c := chains[0]; c.Policy != policy || c.PolicySince == nil || !c.PolicySince.Equal(since) {
			t.Errorf("it works by %q since %v, want %q since %v", c.Policy, c.PolicySince, policy, since)
		}
	}
	f.add(started(begun, "aa"))
	works("aa", begun)
	f.node.Restart(record.Recover)
	f.add(started(begun.Add(time.Minute), "aa"))
	works("aa", begun) // a restart changes nothing about it
	s := collectortest.NewSession(begun.Add(2 * time.Minute))
	q := s.Query("SELECT 1", "n", "1")
	q[0].Header.Intent.Policy = "bb"
	f.add(append([]collectortest.Record{s.Opened()}, q...)...)
	works("bb", q[0].Header.Time)
	f.node.Restart(record.Recover)
	f.add(started(begun.Add(3*time.Minute), "cc"))
	works("cc", begun.Add(3*time.Minute))
}
