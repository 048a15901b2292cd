package policy

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

// WithoutNeeds makes every condition be evaluated in full, to compare.
func (p *Policy) WithoutNeeds() *Policy {
	for _, r := range p.order {
		for _, rules := range r.rules {
			for _, rule := range rules {
				if rule.when != nil {
					rule.when.need = nil
				}
			}
		}
	}
	return p
}

// Narrowed reports whether the first deny rule has a need.
func (p *Policy) Narrowed() bool { return p.order[0].rules[Deny][0].when.need != nil }

// Words renders the table of what conditions can read.
func Words() string {
	var out strings.Builder
	out.WriteString("\n| Word | Type | Meaning |\n|---|---|---|\n")
	fields := map[string][]field{}
	for _, o := range objects() {
		fields[o.typ.TypeName()] = o.fields
	}
	var list func(name string, typ *cel.Type, doc string, values []string)
	list = func(name string, typ *cel.Type, doc string, values []string) {
		if values != nil {
			doc += ": `" + strings.Join(values, "`, `") + "`"
		}
		shown := typ.String()
		element := typ
		if typ.Kind() == cel.ListKind {
			element = typ.Parameters()[0]
		}
		if inner := fields[element.TypeName()]; inner != nil {
			shown = "fields"
			if element != typ {
				name, shown = name+"[]", "list of fields"
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, shown, doc)
			for _, f := range inner {
				list(name+"."+f.name, f.typ, f.doc, f.values)
			}
			return
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, shown, doc)
	}
	for _, v := range variables() {
		list(v.name, v.typ, v.doc, nil)
	}
	return out.String() + "\n"
}
