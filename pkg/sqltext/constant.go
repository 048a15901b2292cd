package sqltext

import (
	"strconv"

	pg_query "github.com/pganalyze/pg_query_go/v6"
)

// constantText returns a constant's text, as SET takes it; "" for what is not
// a constant.
func constantText(node *pg_query.Node) string {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_AConst:
		switch v := n.AConst.GetVal().(type) {
		case *pg_query.A_Const_Sval:
			return v.Sval.GetSval()
		case *pg_query.A_Const_Ival:
			return strconv.Itoa(int(v.Ival.GetIval()))
		case *pg_query.A_Const_Fval:
			return v.Fval.GetFval()
		case *pg_query.A_Const_Boolval:
			return strconv.FormatBool(v.Boolval.GetBoolval())
		case *pg_query.A_Const_Bsval:
			return v.Bsval.GetBsval()
		}
	case *pg_query.Node_TypeCast:
		return constantText(n.TypeCast.GetArg())
	case *pg_query.Node_String_:
		return n.String_.GetSval()
	}
	return ""
}
