package policy

import (
	"errors"
	"fmt"
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
		c.unsupported(path+".json_paths", clause.JSONPaths)
		c.unsupported(path+".kinds", clause.Kinds)
		c.unsupported(path+".detect", clause.Detect)
		method := c.method(path+".method", string(clause.Method))
		if len(clause.Columns) == 0 {
			c.doc.Problem(path+".columns", "is missing: list columns as in public.customers.email")
		}
		chosen := c.selected(path, p, clause.Resources)
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
	}
}

// addMask masks a column in each of the resources. A column is masked by one
// mask only: which of two methods hides more is not for us to guess.
func (c *compiler) addMask(path string, column mask.Column, resources []*resource) {
	for _, r := range resources {
		same := func(other mask.Column) bool {
			return other.Schema == column.Schema && other.Table == column.Table && other.Column == column.Column
		}
		if i := slices.IndexFunc(r.masks.Columns, same); i >= 0 {
			c.doc.Problem(path, "is already masked by %q in resource %q: keep one", r.masks.Columns[i].Mask, r.Name)
			return
		}
		r.masks.Columns = append(r.masks.Columns, column)
	}
}

// unsupported refuses a part of the schema that would be silently ignored.
func (c *compiler) unsupported(path string, values []string) {
	if values != nil {
		c.doc.Problem(path, "is not supported yet: mask whole columns with columns")
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

// identifier takes one name from the front of text.
func identifier(text string) (name, rest string, err error) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexByte(text, '.')
		if end < 0 {
			end = len(text)
		}
		name = strings.Map(lowerASCII, text[:end])
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
