package sqltext

import (
	"slices"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// comparisons are operators of which every variant is immutable as long as both
// sides are of one kind of type; arithmetic ones too, between numbers.
var (
	comparisons = []string{"=", "<>", "!=", "<", "<=", ">", ">=", "~~", "!~~", "~~*", "!~~*", "~", "~*", "!~", "!~*"}
	arithmetic  = []string{"+", "-", "*", "/", "%", "||"}
)

// inspect walks over the query, notes what its proof depends on, and reports
// false for what is not even to be estimated.
func (a *Affected) inspect(m protoreflect.Message) bool {
	ok := true
	switch n := m.Interface().(type) {
	case *pg_query.TypeName:
		ok = a.typed(n)
	case *pg_query.CurrentOfExpr:
		ok = false
	case *pg_query.A_Expr:
		a.operates(nameList(n.GetName()))
	case *pg_query.SubLink:
		a.operates(nameList(n.GetOperName()))
	case *pg_query.TypeCast:
		if n.GetArg().GetAConst() == nil && n.GetArg().GetParamRef() == nil {
			a.doubt("they cast what is not a literal")
		}
	default:
		if !slices.Contains(plainNodes[:], string(m.Descriptor().Name())) {
			a.doubt("they have more than comparisons")
		}
	}
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case fd.Kind() != protoreflect.MessageKind:
		case fd.IsList():
			for i := range v.List().Len() {
				ok = a.inspect(v.List().Get(i).Message()) && ok
			}
		default:
			ok = a.inspect(v.Message()) && ok
		}
		return true
	})
	return ok
}

// plainNodes are the parts of a query whose meaning is that of the names and
// operators in them.
var plainNodes = [...]string{
	"Node", "SelectStmt", "ResTarget", "A_Const", "Integer", "Float", "String", "Boolean", "BitString", "ParamRef", "ColumnRef",
	"RangeVar", "Alias", "JoinExpr", "BoolExpr", "NullTest", "BooleanTest", "FuncCall", "CoalesceExpr", "A_ArrayExpr", "List",
}

func (a *Affected) doubt(why string) {
	if a.Doubt == "" {
		a.Doubt = why
	}
}

// typed notes a type. One of another schema, or that of a column, is none to
// cast to.
func (a *Affected) typed(n *pg_query.TypeName) bool {
	names := nameList(n.GetNames())
	if len(names) == 2 && names[0] == "pg_catalog" {
		names = names[1:]
	}
	if len(names) != 1 || n.GetPctType() {
		return false
	}
	a.Types = addName(a.Types, names[0])
	return true
}

func (a *Affected) operates(name []string) {
	if len(name) == 0 {
		return
	}
	switch last := name[len(name)-1]; {
	case slices.Contains(comparisons, last), last == "BETWEEN", last == "NOT BETWEEN", last == "BETWEEN SYMMETRIC", last == "NOT BETWEEN SYMMETRIC":
	case slices.Contains(arithmetic, last):
		a.Arithmetic = true
	default:
		a.doubt("they have more than comparisons")
	}
}
