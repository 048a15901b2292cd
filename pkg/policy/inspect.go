package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/sluicegate/sluice/pkg/operation"
)

// reads says what a condition depends on.
type reads struct {
	op       bool   // any field of op
	details  detail // those of op.sql, op.ssh, …
	readOnly bool   // op.read_only
	parsed   bool   // op.parsed
	unknown  bool   // it compares op.git's forced with "unknown"
	unproven string // the first variable read that rests on the job's own word
}

// inspect walks a checked condition, with everything that macros and has()
// became, and finds what it depends on. It refuses what would hide that, and
// comparisons that can never be true.
func (l *language) inspect(checked *cel.Ast) (reads, error) {
	tree := checked.NativeRep()
	var found reads
	var problems []error
	var visit func(e ast.NavigableExpr)
	visit = func(e ast.NavigableExpr) {
		switch e.Kind() {
		case ast.IdentKind:
			if err := found.variable(e); err != nil {
				problems = append(problems, err)
			}
		case ast.CallKind:
			if err := l.comparison(tree, e.AsCall(), &found); err != nil {
				problems = append(problems, err)
			}
		case ast.StructKind:
			problems = append(problems, errors.New("makes an object: compare fields instead"))
		}
		for _, child := range e.Children() {
			visit(child)
		}
	}
	visit(ast.NavigateAST(tree))
	if len(problems) > 0 {
		return reads{}, oneLine(problems)
	}
	return found, nil
}

// oneLine joins problems for a message that is one line.
func oneLine(problems []error) error {
	texts := make([]string, len(problems))
	for i, p := range problems {
		texts[i] = p.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}

// variable notes a name that is read. A variable of a macro that has one of
// our names is taken for ours.
func (r *reads) variable(e ast.NavigableExpr) error {
	switch name := strings.TrimPrefix(e.AsIdent(), "."); name {
	case "claimed", "agent":
		if r.unproven == "" {
			r.unproven = name
		}
	case "op":
		r.op = true
		parent, ok := e.Parent()
		if !ok || parent.Kind() != ast.SelectKind {
			return errors.New("op stands alone: read one of its fields, as in op.kind")
		}
		read := parent.AsSelect().FieldName()
		r.details |= detailNamed(read)
		r.readOnly = r.readOnly || read == "read_only"
		r.parsed = r.parsed || read == "parsed"
	}
	return nil
}

// comparison refuses to compare a field with a constant that it never equals:
// such a rule would be dead, and a deny that is dead protects nothing.
func (l *language) comparison(tree *ast.AST, call ast.CallExpr, found *reads) error {
	switch call.FunctionName() {
	case operators.Equals, operators.NotEquals, operators.In:
	default:
		return nil
	}
	args := call.Args()
	for i, arg := range args {
		if arg.Kind() != ast.SelectKind || arg.AsSelect().IsTestOnly() {
			continue
		}
		read := arg.AsSelect()
		owner := tree.GetType(read.Operand().ID()).TypeName()
		spelled, _ := constants(args[1-i])
		for _, constant := range spelled {
			if err := l.possible(owner, read.FieldName(), constant); err != nil {
				return err
			}
			found.unknown = found.unknown || owner == gitRefType.TypeName() && constant == string(operation.Uncertain)
		}
	}
	return nil
}

// possible reports whether a field can have a value.
func (l *language) possible(owner, name, value string) error {
	if owner == statementType.TypeName() && name == "kind" && value != strings.ToUpper(value) {
		return fmt.Errorf("a statement's kind is never %q: write it in upper case, as in %q", value, strings.ToUpper(value))
	}
	values := l.values[owner][name]
	if values == nil || slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("%s is never %q: it is one of %s", name, value, strings.Join(values, ", "))
}

// constants returns the strings that an operand spells out, itself or as
// elements of a list, and whether those are all that it can be.
func constants(e ast.Expr) (values []string, complete bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		text, ok := e.AsLiteral().Value().(string)
		if !ok {
			return nil, false
		}
		return []string{text}, true
	case ast.ListKind:
		complete = true
		for _, element := range e.AsList().Elements() {
			more, all := constants(element)
			values = append(values, more...)
			complete = complete && all
		}
		return values, complete
	}
	return nil, false
}
