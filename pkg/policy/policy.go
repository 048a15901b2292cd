// Package policy reads one policy file and answers, for each operation, whether
// it is allowed, held for a person, or denied.
//
// It is pure: it opens no file, keeps no clock and remembers nothing between
// two questions. Parse reports everything that is wrong with a file at once
// and accepts nothing that it would not enforce. Deny beats hold beats allow,
// whatever their order; what no rule matches gets the file's default; what
// cannot be evaluated is denied. No rule that allows can be swayed by what a
// job says about itself.
//
// The package does not ask approvers, mask values, or resolve names; it says
// what is to be asked, masked and protected.
package policy

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/sluicegate/sluice/pkg/config/document"
	"github.com/sluicegate/sluice/pkg/mask"
)

//go:generate sh -c "go test -run TestGuideListsEveryWord -update . >/dev/null"

// Policy is one parsed file. It is immutable and safe for concurrent use; a
// session keeps the one that it began with.
type Policy struct {
	hash      string
	fallback  Effect
	order     []*resource
	resources map[string]*resource
	clauses   []resourceClause // as they are written
}

// Parse reads a policy. Name is the file's path: problems begin with it, and
// the paths inside the file are relative to its directory. The error joins
// every problem of the file, each with its line and what to write instead.
func Parse(name string, data []byte) (*Policy, error) {
	doc, err := document.Parse(name, data)
	if err != nil {
		return nil, err
	}
	var f file
	doc.Decode(&f)
	c, err := newCompiler(name, doc)
	if err != nil {
		return nil, err
	}
	p := c.policy(&f)
	if err := doc.Err(); err != nil {
		return nil, err
	}
	digest := sha256.Sum256(data)
	p.hash = hex.EncodeToString(digest[:])
	return p, nil
}

// Hash returns the hex SHA-256 of the file's bytes.
func (p *Policy) Hash() string { return p.hash }

// Resources returns the protected resources in the order of the file. The
// slice is the caller's; what it points to is shared.
func (p *Policy) Resources() []Resource {
	all := make([]Resource, len(p.order))
	for i, r := range p.order {
		all[i] = r.Resource
	}
	return all
}

// Masks returns what is masked in the named resource: never nil, shared and
// not to be changed. A resource that the policy does not know has no masks,
// and Evaluate denies everything in it.
func (p *Policy) Masks(resource string) *mask.Set {
	if r := p.resources[resource]; r != nil {
		return &r.masks
	}
	return &mask.Set{}
}

// ReadsSQL reports whether a rule that could apply to the named resource reads
// what only an analysis of the statement can tell.
func (p *Policy) ReadsSQL(resource string) bool {
	r := p.resources[resource]
	return r != nil && (r.reads&sqlDetail != 0 || r.readsReadOnly || r.readsParsed)
}
