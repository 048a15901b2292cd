package approval_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

// publication is what ann publishes for all that build.
func publication() approval.Publication {
	return approval.Publication{Cluster: "main", Sequence: approval.SequenceAt(time.Now()), Agents: []string{"build-*"}, By: "ann", Reason: "stricter"}
}

func (p *people) publish(t *testing.T, what approval.Publication, text []byte, signer string) []byte {
	t.Helper()
	published, err := approval.Publish(what, text, p.keys[signer])
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(published)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestPublicationOfAPublisherIsBelieved(t *testing.T) {
	p := newPeople(t)
	p.roster.Publishers = []string{"dba"}
	text := []byte("version: 1\n")
	got, published, err := approval.OpenPublished(p.publish(t, publication(), text, "ann"), &p.roster, "main", time.Now())
	if err != nil || got.SHA256 != approval.PolicyHash(text) || string(published.Text) != string(text) || got.By != "ann" {
		t.Errorf("got %+v, %v", got, err)
	}
	if !got.For("build-7") || got.For("deploy-7") || got.For("build") {
		t.Error("it is for the wrong agents")
	}
	own, _, err := approval.OpenPublished(p.publish(t, publication(), nil, "ann"), &p.roster, "main", time.Now())
	if err != nil || own.SHA256 != "" {
		t.Errorf("the nodes' own files: %+v, %v", own, err)
	}
}

func TestPublicationIsNotBelieved(t *testing.T) {
	p := newPeople(t).withConsole(t)
	p.roster.Publishers = []string{"dba"}
	text := []byte("version: 1\n")
	change := func(edit func(*approval.Publication)) approval.Publication {
		what := publication()
		edit(&what)
		return what
	}
	asIs := publication()
	other, err := json.Marshal(approval.Published{Signed: opened(t, p.publish(t, asIs, text, "ann")).Signed, Text: []byte("default: allow\n")})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		encoded []byte
		want    error // nil: any
	}{
		"another text":            {other, nil},
		"another's key":           {p.publish(t, asIs, text, "bob"), approval.ErrSignature},
		"the console's key":       {p.publish(t, asIs, text, "console"), approval.ErrSignature},
		"a stranger":              {p.publish(t, change(func(w *approval.Publication) { w.By = "eve" }), text, "ann"), approval.ErrNotApprover},
		"another cluster":         {p.publish(t, change(func(w *approval.Publication) { w.Cluster = "test" }), text, "ann"), nil},
		"of the future":           {p.publish(t, change(func(w *approval.Publication) { w.Sequence += 3_600_000 }), text, "ann"), approval.ErrVoteTime},
		"of the end of all times": {p.publish(t, change(func(w *approval.Publication) { w.Sequence = 1<<64 - 1 }), text, "ann"), approval.ErrVoteTime},
		"no publication":          {[]byte("{}"), nil},
	} {
		_, _, err := approval.OpenPublished(test.encoded, &p.roster, "main", time.Now())
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	good := p.publish(t, asIs, text, "ann")
	for name, publishers := range map[string][]string{"nobody may": nil, "others may": {"platform"}} {
		p.roster.Publishers = publishers
		if _, _, err := approval.OpenPublished(good, &p.roster, "main", time.Now()); !errors.Is(err, approval.ErrPublisher) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := approval.OpenPublished(good, nil, "main", time.Now()); !errors.Is(err, approval.ErrNoRoster) {
		t.Errorf("without a roster: %v", err)
	}
}

func opened(t *testing.T, encoded []byte) (published approval.Published) {
	t.Helper()
	if err := json.Unmarshal(encoded, &published); err != nil {
		t.Fatal(err)
	}
	return published
}

func TestPublicationThatNamesNothingCannotBeSigned(t *testing.T) {
	p := newPeople(t)
	for name, edit := range map[string]func(*approval.Publication){
		"no agents":   func(w *approval.Publication) { w.Agents = nil },
		"a bad name":  func(w *approval.Publication) { w.Agents = []string{"build-["} },
		"no cluster":  func(w *approval.Publication) { w.Cluster = "" },
		"no sequence": func(w *approval.Publication) { w.Sequence = 0 },
		"by nobody":   func(w *approval.Publication) { w.By = "" },
	} {
		what := publication()
		edit(&what)
		if _, err := approval.Publish(what, nil, p.keys["ann"]); err == nil {
			t.Errorf("%s: it was signed", name)
		}
	}
	if _, err := approval.Publish(publication(), make([]byte, approval.MaxPolicy+1), p.keys["ann"]); err == nil {
		t.Error("a policy that is too large was signed")
	}
}
