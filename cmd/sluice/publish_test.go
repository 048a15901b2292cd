package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// admin runs the program as ada, the admin.
func (d *desk) admin(status int, args ...string) string {
	d.t.Helper()
	return d.sluice(status, append(args, "--token-file", d.path("admin-token"))...)
}

func (d *desk) publications() (all []view.Publication) {
	d.t.Helper()
	check(d.t, json.Unmarshal([]byte(d.admin(0, "policy", "published", "--json")), &all))
	return all
}

func TestPolicyIsPublishedAndRolledBack(t *testing.T) {
	d := newDesk(t)
	looser := strings.Replace(stricter, "effect: deny", "effect: allow", 1)
	d.write("first.yaml", stricter)
	d.write("second.yaml", looser)
	d.write("broken.yaml", "rules: 7\n")
	press := []string{"--cluster", collectortest.Cluster, "--agents", "node-*", "--key", d.path("ada.pem")}
	publish := func(status int, file string) string {
		return d.admin(status, append([]string{"policy", "publish", d.path(file), "--reason", "try"}, press...)...)
	}
	if out := publish(1, "broken.yaml"); !strings.Contains(out, "broken.yaml:1") {
		t.Errorf("a broken policy: %s", out)
	}
	publish(0, "first.yaml")
	publish(0, "second.yaml")
	if out := d.sluice(2, append([]string{"policy", "publish", d.path("first.yaml")}, press...)...); !strings.Contains(out, "admin") {
		t.Errorf("without the role: %s", out)
	}
	rollback := []string{"policy", "rollback", "--cluster", collectortest.Cluster, "--key", d.path("ada.pem")}
	d.admin(0, rollback...)
	d.admin(0, append(rollback, "--own-file")...)
	all := d.publications()
	if len(all) != 4 {
		t.Fatalf("published %+v", all)
	}
	for i, want := range []string{"", approval.PolicyHash([]byte(stricter)), approval.PolicyHash([]byte(looser)), approval.PolicyHash([]byte(stricter))} {
		if all[i].SHA256 != want || all[i].By != "ada" || all[i].Agents[0] != "node-*" || i > 0 && all[i].Sequence >= all[i-1].Sequence {
			t.Errorf("%d: %+v, want %s", i, all[i], want)
		}
	}
	if out := d.admin(0, "policy", "published"); !strings.Contains(out, "the nodes' own files") || !strings.Contains(out, "node-*") {
		t.Errorf("listed %s", out)
	}
	d.newKey("other.pem")
	other := []string{"policy", "rollback", "--cluster", collectortest.Cluster, "--key", d.path("other.pem"), "--to", "1"}
	if out := d.admin(2, other...); !strings.Contains(out, "not found") && !strings.Contains(out, "no such") && !strings.Contains(out, "refuses") {
		t.Errorf("nothing to go back to: %s", out)
	}
	old := jsonNumber(all[2].Sequence)
	if out := d.admin(2, "policy", "rollback", "--cluster", collectortest.Cluster, "--key", d.path("other.pem"), "--to", old); !strings.Contains(out, "you did not sign") {
		t.Errorf("another's text is signed on the collector's word: %s", out)
	}
	if out := d.admin(2, "policy", "rollback", "--cluster", collectortest.Cluster, "--key", d.path("ada.pem"), "--to", old, "--sha256", strings.Repeat("0", 64)); !strings.Contains(out, "another text") {
		t.Errorf("a text that is not the named one: %s", out)
	}
	d.admin(0, "policy", "rollback", "--cluster", collectortest.Cluster, "--key", d.path("ada.pem"), "--to", old, "--sha256", approval.PolicyHash([]byte(looser)))
	if all := d.publications(); all[0].SHA256 != approval.PolicyHash([]byte(looser)) {
		t.Errorf("rolled back to %+v", all[0])
	}
}

func jsonNumber(n uint64) string {
	text, _ := json.Marshal(n) // of a number: never fails
	return string(text)
}
