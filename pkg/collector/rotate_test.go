package collector_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// TestKeyIsRotatedAndRevoked has an agent go on with a new key over the spool
// that it has, and believes the former one no more.
func TestKeyIsRotatedAndRevoked(t *testing.T) {
	s := newSite(t)
	key := func(file string) string {
		text, err := os.ReadFile(filepath.Join(s.path(node), file))
		check(t, err)
		return strings.TrimSpace(string(text))
	}
	trust := func() translog.Trust {
		text, err := os.ReadFile(s.path("data/trust.json"))
		check(t, err)
		pinned, err := translog.ParseTrust(text)
		check(t, err)
		return pinned
	}
	former := ""
	for _, vkey := range trust().Agents {
		if strings.HasPrefix(vkey, "test/"+node+"+") {
			former = vkey
		}
	}
	t.Run("with the former key", func(t *testing.T) {
		s := *s
		s.t = t // the agent ends with this part
		a := s.agent()
		a.runSession(t, "before00", "SELECT 1")
		await(t, "the receipt", func() bool { return a.Pending() == 0 })
	})
	check(t, collector.Rotate(s.cfg, node, s.path("new")))
	if key(collector.SigningKeyFile) == "" || len(trust().Revoked) != 0 {
		t.Fatalf("%+v", trust())
	}
	await(t, "the collector knows the new key", func() bool {
		return slices.ContainsFunc(get[[]view.Chain](s, "/v1/agents"), func(c view.Chain) bool {
			return c.Agent == node && c.Key != former
		})
	})
	check(t, os.Rename(s.path("new/"+collector.SigningKeyFile), filepath.Join(s.path(node), collector.SigningKeyFile)))
	t.Run("with the new key", func(t *testing.T) {
		s := *s
		s.t = t
		a := s.agent()
		a.runSession(t, "after000", "SELECT 2")
		await(t, "the receipt", func() bool { return a.Pending() == 0 })
	})
	s.awaitSession("after000")
	from, err := collector.Revoke(s.cfg, node, former)
	check(t, err)
	pinned := trust()
	if len(pinned.Revoked) != 1 || pinned.Revoked[0].Key != former || pinned.Revoked[0].From != from || from == 0 {
		t.Errorf("%+v", pinned)
	}
	report, err := translog.Verify(s.bundle("since=1970-01-01T00:00:00Z"), pinned)
	check(t, err)
	if rest := ofLiveChain(report); len(rest) > 0 {
		t.Error(rest)
	}
	if _, err := collector.Revoke(s.cfg, node, former); err == nil {
		t.Error("a key was revoked twice")
	}
}
