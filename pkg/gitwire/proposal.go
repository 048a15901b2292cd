package gitwire

import (
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
)

// proposal is a push as rules, people and the record see it.
type proposal struct {
	repository string
	format     format
	request    *request
	pack       *pack // nil: only commands came
	changes    []change
	lost       int // ids of lost commits in the record
}

// maxText bounds what is recorded of a push in words, before the pack's own
// bytes. What an approver sees is cut shorter still, so refs come first.
const maxText = 256 << 10

// operation describes the push. An approval binds the commands byte for byte,
// and the pack by its SHA-256.
func (p *proposal) operation() operation.Operation {
	op := operation.Operation{
		Kind:   operation.Push,
		Text:   operation.Text(p.text()),
		Bytes:  p.request.raw,
		Parsed: true,
		Git:    &operation.Git{Repository: p.repository, Options: p.request.options},
	}
	if p.pack != nil {
		op.Source = p.pack.digest[:]
	}
	for i := range p.changes {
		op.Git.Refs = append(op.Git.Refs, p.ref(&p.changes[i]))
	}
	return op
}

// maxLost bounds the ids of lost commits in a ref's record, and allLost in all
// of a push.
const (
	maxLost = 20
	allLost = 100
)

func (p *proposal) ref(c *change) operation.GitRef {
	ref := operation.GitRef{Name: c.name, Kind: c.kind, Old: p.name(c.old), New: p.name(c.new), Forced: c.forced}
	for _, k := range c.lost[:min(len(c.lost), maxLost, allLost-p.lost)] {
		p.lost++
		ref.Lost = append(ref.Lost, p.format.hex(k.id))
	}
	return ref
}

// name is an id in full; empty for none.
func (p *proposal) name(i id) string {
	if i == (id{}) {
		return ""
	}
	return p.format.hex(i)
}

// unjudged are the refs of a push that could not be read to its end.
func unjudged(asked *request, f format) []operation.GitRef {
	p := proposal{format: f}
	refs := make([]operation.GitRef, 0, len(asked.updates))
	for _, u := range asked.updates {
		c := change{update: u, kind: u.kind(), forced: operation.Uncertain}
		refs = append(refs, p.ref(&c))
	}
	return refs
}

// text is the push in words: each ref with what it loses and gains, then what
// else came.
func (p *proposal) text() string {
	var t strings.Builder
	fmt.Fprintf(&t, "push to %s\n", p.repository)
	for i := range p.changes {
		p.describe(&t, &p.changes[i])
		if t.Len() > maxText {
			fmt.Fprintf(&t, "%d more references\n", len(p.changes)-i-1)
			break
		}
	}
	if len(p.request.shallow) > 0 {
		t.WriteString("from a shallow clone\n")
	}
	if p.request.signer != "" {
		fmt.Fprintf(&t, "signed, not checked here, by %s\n", p.request.signer)
	}
	for _, option := range p.request.options {
		fmt.Fprintf(&t, "push option %q\n", option)
	}
	p.describePack(&t)
	return t.String()
}

// describe writes one ref.
func (p *proposal) describe(t *strings.Builder, c *change) {
	switch c.kind {
	case operation.RefCreate:
		fmt.Fprintf(t, "create %s at %s\n", c.name, p.name(c.new))
	case operation.RefDelete:
		fmt.Fprintf(t, "delete %s, which is at %s\n", c.name, p.name(c.old))
	case operation.RefUpdate:
		fmt.Fprintf(t, "update %s from %s to %s, %s\n", c.name, p.name(c.old), p.name(c.new), judgement(c.forced))
	}
	loses := "loses"
	if c.kind == operation.RefDelete {
		loses = "lost to every reference"
	}
	p.describeCommits(t, loses, c.lost, c.more.lost)
	p.describeCommits(t, "gains", c.coming, c.more.coming)
}

func judgement(forced operation.Certainty) string {
	switch forced {
	case operation.CertainlyNot:
		return "which keeps its history"
	case operation.Certainly:
		return "FORCED"
	}
	return "which counts as FORCED: whether it keeps its history could not be found out"
}

func (p *proposal) describeCommits(t *strings.Builder, verb string, commits []known, more bool) {
	for _, k := range commits {
		author, _, _ := strings.Cut(k.author, ">")
		fmt.Fprintf(t, "  %s %s %s (%s>)\n", verb, p.format.short(k.id), k.subject, author)
	}
	if more {
		fmt.Fprintf(t, "  %s more\n", verb)
	}
}

// describePack writes the pack's size and names.
func (p *proposal) describePack(t *strings.Builder) {
	if p.pack == nil {
		return
	}
	n := p.pack.counts
	fmt.Fprintf(t, "pack of %d bytes, SHA-256 %x: %d objects (%d commits, %d trees, %d blobs, %d tags, %d deltas)\n",
		p.pack.store.size, p.pack.digest, p.pack.objects,
		n[commitObject], n[treeObject], n[blobObject], n[tagObject], n[offsetDelta]+n[refDelta])
	for _, o := range p.pack.listed {
		fmt.Fprintf(t, "  %s %s, %d bytes\n", o.kind, p.format.hex(o.id), o.size)
	}
}
