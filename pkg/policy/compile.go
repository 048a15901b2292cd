package policy

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/sluicegate/sluice/pkg/config/document"
)

// version is the file format that this package reads.
const version = 1

// word is how resources, masks and rules may be named: the names travel in
// error messages, records and file names, where nothing has to be quoted.
var word = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// compiler turns clauses into a policy and reports what is wrong with them.
type compiler struct {
	name     string // of the file
	doc      *document.Document
	language *language
	known    []string // names of the resources
}

// newCompiler returns a compiler for one file. It fails only on a fault of
// ours.
func newCompiler(name string, doc *document.Document) (*compiler, error) {
	l, err := newLanguage()
	if err != nil {
		return nil, fmt.Errorf("build the rule language: %w", err)
	}
	return &compiler{name: name, doc: doc, language: l}, nil
}

// policy compiles the whole file. The result is valid only if the document has
// no problem.
func (c *compiler) policy(f *file) *Policy {
	p := &Policy{resources: map[string]*resource{}, clauses: f.Resources}
	if f.Version != version {
		c.doc.Problem("version", "write version: %d", version)
	}
	switch f.Default {
	case "allow":
		p.fallback = Allow
	case "deny":
		p.fallback = Deny
	case "":
		c.doc.Problem("default", "is missing: write default: deny, or default: allow")
	default:
		c.doc.Problem("default", "%q is not a default: write allow or deny", f.Default)
	}
	for _, clause := range f.Resources {
		c.known = append(c.known, clause.Name)
	}
	c.language.resources(c.known)
	if len(f.Resources) == 0 {
		c.doc.Problem("resources", "is missing: list what is to be protected")
	}
	for i := range f.Resources {
		path := fmt.Sprintf("resources[%d]", i)
		r := c.resource(path, &f.Resources[i])
		c.unique(path, "resource", r.Name, p.resources[r.Name] != nil)
		c.overlap(path, r, p.order)
		p.order = append(p.order, r)
		p.resources[r.Name] = r
	}
	c.masks(p, f.Masks)
	c.rules(p, f.Rules)
	return p
}

// unique checks a name.
func (c *compiler) unique(path, what, name string, taken bool) {
	switch {
	case name == "":
		c.doc.Problem(path+".name", "is missing: give the %s a name", what)
	case !word.MatchString(name):
		c.doc.Problem(path+".name", "%q is not a name: write up to 63 lower-case letters, digits and hyphens", name)
	case taken:
		c.doc.Problem(path+".name", "%q is already the name of another %s: choose a different one", name, what)
	}
}

// selected returns the resources that a clause names; none named means all.
func (c *compiler) selected(path string, p *Policy, names []string) []*resource {
	if len(names) == 0 {
		return p.order
	}
	var chosen []*resource
	for i, name := range names {
		at := fmt.Sprintf("%s.resources[%d]", path, i)
		r := p.resources[name]
		switch {
		case r == nil:
			c.doc.Problem(at, "there is no resource %q: the resources are %v", name, c.known)
		case slices.Contains(chosen, r):
			c.doc.Problem(at, "%q is listed twice: keep one", name)
		default:
			chosen = append(chosen, r)
		}
	}
	return chosen
}
