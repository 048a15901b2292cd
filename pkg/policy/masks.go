package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/mask"
)

// masks compiles the masks into the resources that they apply to.
func (c *compiler) masks(p *Policy, clauses []maskClause) {
	names := map[string]bool{}
	for i, clause := range clauses {
		path := fmt.Sprintf("masks[%d]", i)
		c.unique(path, "mask", clause.Name, names[clause.Name])
		names[clause.Name] = true
		method := c.method(path+".method", string(clause.Method))
		if len(clause.Columns)+len(clause.JSONPaths)+len(clause.Kinds)+len(clause.Detect) == 0 {
			c.doc.Problem(path+".columns", "is missing: list columns as in public.customers.email, or json_paths, kinds or detect")
		}
		chosen := c.masked(path, p, clause)
		parse := parsePath
		if slices.ContainsFunc(chosen, isWeb) {
			parse = parseDocumentPath
		}
		for j, text := range clause.Columns {
			at := fmt.Sprintf("%s.columns[%d]", path, j)
			column, err := parseColumn(text)
			if err != nil {
				c.doc.Problem(at, "%v", err)
				continue
			}
			column.Mask, column.Method = clause.Name, method
			c.addMask(at, column, chosen)
		}
		for j, text := range clause.JSONPaths {
			at := fmt.Sprintf("%s.json_paths[%d]", path, j)
			found, err := parse(text)
			if err != nil {
				c.doc.Problem(at, "%v", err)
				continue
			}
			found.Mask, found.Method = clause.Name, method
			c.addPath(at, found, chosen)
		}
		for j, kind := range clause.Kinds {
			c.addKind(fmt.Sprintf("%s.kinds[%d]", path, j), mask.Kind{Kind: kind, Mask: clause.Name, Method: method}, chosen)
		}
		for j, name := range clause.Detect {
			c.addDetection(fmt.Sprintf("%s.detect[%d]", path, j), mask.Detection{
				Detector: mask.Detector(name), Mask: clause.Name, Method: method,
			}, chosen)
		}
	}
}

// masked returns the resources of a mask. One that names columns is for
// resources that have some, one that names kinds for clusters, and one that names
// only paths for resources with columns or for those of the web: those that it
// names have to, and of all others it leaves out those that have none, and the
// web's where some have columns.
func (c *compiler) masked(path string, p *Policy, clause maskClause) []*resource {
	chosen := c.selected(path, p, clause.Resources)
	columns := len(clause.Columns)+len(clause.JSONPaths) > 0
	if columns && len(clause.Kinds) > 0 {
		c.doc.Problem(path+".kinds", "no resource has both columns and kinds: write a mask for each")
		return nil
	}
	var with []*resource
	var lacks string
	for _, r := range chosen {
		switch {
		case columns && len(clause.Columns) == 0 && isWeb(r):
			with = append(with, r)
			continue
		case columns && slices.Contains(columnless, r.Protocol):
			lacks = "columns"
		case len(clause.Kinds) > 0 && r.Protocol != clusterProtocol:
			lacks = "kinds"
		default:
			with = append(with, r)
			continue
		}
		if len(clause.Resources) > 0 || len(clause.Detect) > 0 {
			c.doc.Problem(path+".resources", "resource %q has no %s: write detect in a mask of its own", r.Name, lacks)
		}
	}
	if len(with) == 0 && lacks != "" && len(clause.Resources) == 0 {
		c.doc.Problem(path, "hides nothing: no resource has %s", lacks)
	}
	if len(clause.JSONPaths) == 0 || !slices.ContainsFunc(with, isWeb) || allWeb(with) {
		return with
	}
	if len(clause.Resources) > 0 {
		c.doc.Problem(path+".json_paths", "begin at a table in a database, and at the document on the web: write a mask for each, with its resources")
		return nil
	}
	return slices.DeleteFunc(with, isWeb)
}

// webProtocol is the one whose answers are any documents.
const webProtocol = "web"

func isWeb(r *resource) bool { return r.Protocol == webProtocol }

func allWeb(all []*resource) bool {
	return !slices.ContainsFunc(all, func(r *resource) bool { return !isWeb(r) })
}

// clusterProtocol is the one whose answers are objects.
const clusterProtocol = "kubernetes"

// columnless are the protocols whose answers have no columns.
var columnless = []string{"ssh", "git", clusterProtocol, webProtocol}

// kindName is how kinds are spelled (Kubernetes' API conventions, "Types").
var kindName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`)

// addKind masks objects of a kind in each of the resources. A kind is masked by
// one mask only.
func (c *compiler) addKind(at string, kind mask.Kind, resources []*resource) {
	if !kindName.MatchString(kind.Kind) {
		c.doc.Problem(at, "%q is not a kind: write it as objects do, as in Secret", kind.Kind)
		return
	}
	for _, r := range resources {
		same := func(other mask.Kind) bool { return other.Kind == kind.Kind }
		if i := slices.IndexFunc(r.masks.Kinds, same); i >= 0 {
			c.doc.Problem(at, "is already masked by %q in resource %q: keep one", r.masks.Kinds[i].Mask, r.Name)
			return
		}
		if len(r.masks.Kinds) == mask.MaxKinds {
			c.doc.Problem(at, "is one too many: a resource has at most %d kinds", mask.MaxKinds)
			return
		}
		r.masks.Kinds = append(r.masks.Kinds, kind)
	}
}

// addPath masks a value inside of a column in each of the resources. A column
// that is masked as a whole needs no path.
func (c *compiler) addPath(at string, found mask.Path, resources []*resource) {
	for _, r := range resources {
		inColumn := 0
		for i := range r.masks.Paths {
			other := &r.masks.Paths[i]
			if !sameColumn(other.Column, found.Column) {
				continue
			}
			inColumn++
			if slices.Equal(other.Keys, found.Keys) {
				c.doc.Problem(at, "is already masked by %q in resource %q: keep one", other.Mask, r.Name)
				return
			}
		}
		if inColumn == mask.MaxPaths {
			c.doc.Problem(at, "is one too many: a column has at most %d paths; mask the whole column", mask.MaxPaths)
			return
		}
		r.masks.Paths = append(r.masks.Paths, found)
	}
}

// addDetection adds a detector to each of the resources.
func (c *compiler) addDetection(at string, d mask.Detection, resources []*resource) {
	if !slices.Contains(mask.Detectors(), d.Detector) {
		c.doc.Problem(at, "%q is not a detector: write one of %v", string(d.Detector), mask.Detectors())
		return
	}
	for _, r := range resources {
		same := func(other mask.Detection) bool { return other.Detector == d.Detector }
		if i := slices.IndexFunc(r.masks.Detect, same); i >= 0 {
			c.doc.Problem(at, "is already a detector of %q in resource %q: keep one", r.masks.Detect[i].Mask, r.Name)
			return
		}
		r.masks.Detect = append(r.masks.Detect, d)
	}
}

func sameColumn(a, b mask.Column) bool {
	return a.Schema == b.Schema && a.Table == b.Table && a.Column == b.Column
}

// addMask masks a column in each of the resources. A column is masked by one
// mask only: which of two methods hides more is not for us to guess.
func (c *compiler) addMask(path string, column mask.Column, resources []*resource) {
	for _, r := range resources {
		same := func(other mask.Column) bool { return sameColumn(other, column) }
		if i := slices.IndexFunc(r.masks.Columns, same); i >= 0 {
			c.doc.Problem(path, "is already masked by %q in resource %q: keep one", r.masks.Columns[i].Mask, r.Name)
			return
		}
		r.masks.Columns = append(r.masks.Columns, column)
	}
}

// method reads a mask's method.
func (c *compiler) method(path, text string) mask.Method {
	known := []mask.Method{mask.Redact, mask.Null, mask.Hash, mask.Partial}
	method := mask.Method(text)
	switch {
	case text == "":
		c.doc.Problem(path, "is missing: write redact, null, hash or partial")
	case !slices.Contains(known, method):
		c.doc.Problem(path, "%q is not a method: write redact, null, hash or partial", text)
	}
	return method
}

// parseColumn reads schema.table.column. Parts fold to lower case as the
// server folds them, unless they stand in double quotes.
func parseColumn(text string) (mask.Column, error) {
	parts, err := identifiers(text)
	if err != nil {
		return mask.Column{}, err
	}
	if len(parts) != 3 {
		return mask.Column{}, fmt.Errorf("%q is not a column: write schema, table and column, as in public.customers.email", text)
	}
	return mask.Column{Schema: parts[0], Table: parts[1], Column: parts[2]}, nil
}

// parsePath reads schema.table.column.key, with as many keys as it takes. Keys
// are compared exactly, so they do not fold.
func parsePath(text string) (mask.Path, error) {
	parts, err := identifiers(text)
	if err != nil {
		return mask.Path{}, err
	}
	if len(parts) < 4 {
		return mask.Path{}, fmt.Errorf("%q is not a path: write schema, table, column and keys, as in public.customers.notes.email", text)
	}
	column := mask.Column{Schema: parts[0], Table: parts[1], Column: parts[2]}
	keys, err := spelled(text, 3)
	return mask.Path{Column: column, Keys: keys}, err
}

// parseDocumentPath reads the keys of a path that begins at a document's outermost
// object, or at each object of its outermost array.
func parseDocumentPath(text string) (mask.Path, error) {
	if _, err := identifiers(text); err != nil {
		return mask.Path{}, fmt.Errorf("%q is not a path: write keys as in customers.email, which goes through arrays; keys with other characters need double quotes", text)
	}
	if !strings.Contains(text, `"`) && strings.ContainsAny(text, "$@[]") {
		return mask.Path{}, fmt.Errorf("%q is not a path: it begins at the document and goes through arrays without $ and []: write it as in customers.email", text)
	}
	keys, err := spelled(text, 0)
	return mask.Path{Keys: keys}, err
}

// spelled returns the names of a dotted name from the nth on, as written.
func spelled(text string, n int) ([]string, error) {
	var keys []string
	for rest := text; ; n-- {
		part, after, err := rawIdentifier(rest)
		if err != nil {
			return nil, err
		}
		if n <= 0 {
			keys = append(keys, part)
		}
		if after == "" {
			return keys, nil
		}
		rest = after[1:]
	}
}

// identifiers splits a dotted SQL name (PostgreSQL documentation §4.1.1).
func identifiers(text string) ([]string, error) {
	var parts []string
	for rest := text; ; {
		part, after, err := identifier(rest)
		if err != nil {
			return nil, fmt.Errorf("%q is not a column: %w", text, err)
		}
		parts = append(parts, part)
		if after == "" {
			return parts, nil
		}
		if after[0] != '.' {
			return nil, fmt.Errorf("%q is not a column: put a dot after the closing quote", text)
		}
		rest = after[1:]
	}
}

// identifier takes one name from the front of text, and folds it.
func identifier(text string) (name, rest string, err error) {
	name, rest, err = rawIdentifier(text)
	if !strings.HasPrefix(text, `"`) {
		name = strings.Map(lowerASCII, name)
	}
	return name, rest, err
}

// rawIdentifier takes one name from the front of text.
func rawIdentifier(text string) (name, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexByte(text, '.')
		if end < 0 {
			end = len(text)
		}
		name = text[:end]
		if name == "" || strings.ContainsAny(name, "\"*' \t") {
			return "", "", errors.New("each part is a name; wildcards are not supported, and other characters need double quotes")
		}
		return name, text[end:], nil
	}
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			i++
			continue
		}
		name = strings.ReplaceAll(text[1:i], `""`, `"`)
		if name == "" {
			return "", "", errors.New("a quoted name is empty")
		}
		return name, text[i+1:], nil
	}
	return "", "", errors.New("a double quote is not closed")
}

// lowerASCII folds as PostgreSQL does in a UTF-8 database: ASCII only.
func lowerASCII(r rune) rune {
	if r >= 'A' && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
