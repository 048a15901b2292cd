package policy

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/sluicegate/sluice/pkg/operation"
)

// need is what an operation must hold for a condition to be true: at least one
// statement of these classes and kinds. Most operations have none, and then
// the condition is false, at a hundredth of what it costs to evaluate it.
//
// A need is never narrower than its condition: what it does not understand it
// takes for true. It also holds where evaluation fails, because in CEL false
// && error is false. A nil need demands nothing.
type need struct {
	classes   []string // empty: any
	kinds     []string // empty: any
	relations []string // names without schema; empty: any, or none
}

// metBy reports whether the condition could be true.
func (n *need) metBy(op *operation.Operation) bool {
	if n == nil {
		return true
	}
	if op == nil || op.SQL == nil {
		return false
	}
	for i := range op.SQL.Statements {
		s := &op.SQL.Statements[i]
		if oneOf(n.classes, string(s.Class)) && oneOf(n.kinds, s.Kind) && n.namedBy(s.Relations) {
			return true
		}
	}
	return false
}

// namedBy reports whether one of a statement's relations could be one of the
// needed. Comparing without schema is wider than what a condition can ask.
func (n *need) namedBy(relations []string) bool {
	if len(n.relations) == 0 {
		return true
	}
	for _, written := range relations {
		if slices.Contains(n.relations, lastPart(written)) {
			return true
		}
	}
	return false
}

// lastPart is a relation's name without its schema.
func lastPart(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// oneOf reports whether value is among these; an empty list is everything.
func oneOf(these []string, value string) bool {
	return len(these) == 0 || slices.Contains(these, value)
}

// narrow finds what a condition needs: the exists() over op.sql.statements in
// it, joined by && and ||.
func narrow(e ast.Expr) *need {
	if left, right, ok := operands(e, operators.LogicalAnd); ok {
		if n := narrow(left); n != nil {
			return n
		}
		return narrow(right)
	}
	if left, right, ok := operands(e, operators.LogicalOr); ok {
		return either(narrow(left), narrow(right))
	}
	if e.Kind() != ast.ComprehensionKind {
		return nil
	}
	loop := e.AsComprehension()
	if !isExists(loop) || !isStatements(loop.IterRange()) {
		return nil
	}
	_, predicate, _ := operands(loop.LoopStep(), operators.LogicalOr)
	return narrowStatement(predicate, loop.IterVar())
}

// narrowStatement finds what a predicate about one statement needs.
func narrowStatement(e ast.Expr, variable string) *need {
	if left, right, ok := operands(e, operators.LogicalAnd); ok {
		return both(narrowStatement(left, variable), narrowStatement(right, variable))
	}
	if left, right, ok := operands(e, operators.LogicalOr); ok {
		return either(narrowStatement(left, variable), narrowStatement(right, variable))
	}
	if name, list, ok := operands(e, operators.In); ok && isField(list, variable, "relations") {
		return needRelation(name)
	}
	left, right, ok := operands(e, operators.Equals)
	if !ok {
		left, right, ok = operands(e, operators.In)
	}
	if !ok {
		return nil
	}
	if left.Kind() == ast.LiteralKind {
		left, right = right, left
	}
	values, complete := constants(right)
	switch {
	case !complete || len(values) == 0:
		return nil
	case isField(left, variable, "class"):
		return &need{classes: values}
	case isField(left, variable, "kind"):
		return &need{kinds: values}
	}
	return nil
}

// needRelation is what `name in s.relations` needs.
func needRelation(name ast.Expr) *need {
	values, complete := constants(name)
	if !complete || name.Kind() != ast.LiteralKind {
		return nil
	}
	return &need{relations: []string{lastPart(values[0])}}
}

// both is needed where two needs hold of the same statement. Where both name
// classes, kinds or relations, the first list alone is the wider answer.
func both(a, b *need) *need {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	joined := *a
	if len(joined.classes) == 0 {
		joined.classes = b.classes
	}
	if len(joined.kinds) == 0 {
		joined.kinds = b.kinds
	}
	if len(joined.relations) == 0 {
		joined.relations = b.relations
	}
	return &joined
}

// either is needed where one of two needs holds.
func either(a, b *need) *need {
	if a == nil || b == nil {
		return nil
	}
	var joined need
	if len(a.classes) > 0 && len(b.classes) > 0 {
		joined.classes = slices.Concat(a.classes, b.classes)
	}
	if len(a.kinds) > 0 && len(b.kinds) > 0 {
		joined.kinds = slices.Concat(a.kinds, b.kinds)
	}
	if len(a.relations) > 0 && len(b.relations) > 0 {
		joined.relations = slices.Concat(a.relations, b.relations)
	}
	if len(joined.classes)+len(joined.kinds)+len(joined.relations) == 0 {
		return nil
	}
	return &joined
}

// operands returns the two arguments of a call of one operator.
func operands(e ast.Expr, operator string) (left, right ast.Expr, ok bool) {
	if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != operator || len(e.AsCall().Args()) != 2 {
		return nil, nil, false
	}
	return e.AsCall().Args()[0], e.AsCall().Args()[1], true
}

// isExists reports whether a loop is what the macro exists() became: false ||
// the predicate of each element.
func isExists(loop ast.ComprehensionExpr) bool {
	first := loop.AccuInit()
	accumulated, _, ok := operands(loop.LoopStep(), operators.LogicalOr)
	return ok && first.Kind() == ast.LiteralKind && first.AsLiteral().Value() == false &&
		isVariable(accumulated, loop.AccuVar()) && isVariable(loop.Result(), loop.AccuVar())
}

// isStatements reports whether an expression is op.sql.statements.
func isStatements(e ast.Expr) bool {
	for _, name := range []string{"statements", "sql"} {
		if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() || e.AsSelect().FieldName() != name {
			return false
		}
		e = e.AsSelect().Operand()
	}
	return isVariable(e, "op")
}

// isField reports whether an expression is one field of one variable.
func isField(e ast.Expr, variable, name string) bool {
	return e.Kind() == ast.SelectKind && !e.AsSelect().IsTestOnly() &&
		e.AsSelect().FieldName() == name && isVariable(e.AsSelect().Operand(), variable)
}

// isVariable reports whether an expression is one name.
func isVariable(e ast.Expr, name string) bool {
	return e.Kind() == ast.IdentKind && e.AsIdent() == name
}
