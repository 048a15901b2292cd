package sqltext

import pg_query "github.com/pganalyze/pg_query_go/v6"

// EffectKind says what a statement does to its session.
type EffectKind string

// The effects. Those of a statement that fails, or whose transaction is rolled
// back, do not stay: the server's answer tells.
const (
	SetParameter EffectKind = "set"        // Name, Values; includes role, session_authorization and search_path
	ResetName    EffectKind = "reset"      // Name goes back to its default
	ResetAll     EffectKind = "reset-all"  // all parameters do
	Discard      EffectKind = "discard"    // Name: all, plans, sequences or temp
	Prepare      EffectKind = "prepare"    // Name is a prepared statement now
	Deallocate   EffectKind = "deallocate" // Name is no more; empty: none is
	Declare      EffectKind = "declare"    // Name is a cursor now
	Close        EffectKind = "close"      // Name is no more; empty: none is
	// SetAnything: the statement may run SQL that is not shown, set_config or
	// a function with SET among it.
	SetAnything EffectKind = "set-anything"
)

// Effect is one thing that a statement does to its session. Values come from
// the text: they are as secret as it is.
type Effect struct {
	Kind   EffectKind
	Name   string
	Values []string
	Local  bool // until the end of the transaction
}

// effects returns what a statement by itself does to the session.
func effects(node *pg_query.Node) []Effect {
	switch n := node.GetNode().(type) {
	case *pg_query.Node_VariableSetStmt:
		return []Effect{variableEffect(n.VariableSetStmt)}
	case *pg_query.Node_DiscardStmt:
		return []Effect{{Kind: Discard, Name: discarded(n.DiscardStmt.GetTarget())}}
	case *pg_query.Node_PrepareStmt:
		return []Effect{{Kind: Prepare, Name: n.PrepareStmt.GetName()}}
	case *pg_query.Node_DeallocateStmt:
		return []Effect{{Kind: Deallocate, Name: n.DeallocateStmt.GetName()}}
	case *pg_query.Node_DeclareCursorStmt:
		return []Effect{{Kind: Declare, Name: n.DeclareCursorStmt.GetPortalname()}}
	case *pg_query.Node_ClosePortalStmt:
		return []Effect{{Kind: Close, Name: n.ClosePortalStmt.GetPortalname()}}
	}
	return nil
}

// variableEffect reads SET and RESET. PostgreSQL's grammar gives SET ROLE,
// SET SESSION AUTHORIZATION, SET TIME ZONE, SET NAMES and SET SCHEMA as the
// parameters behind them.
func variableEffect(n *pg_query.VariableSetStmt) Effect {
	e := Effect{Kind: SetParameter, Name: foldName(n.GetName()), Local: n.GetIsLocal()}
	switch n.GetKind() {
	case pg_query.VariableSetKind_VAR_SET_VALUE:
		for _, arg := range n.GetArgs() {
			e.Values = append(e.Values, constantText(arg))
		}
	case pg_query.VariableSetKind_VAR_SET_DEFAULT, pg_query.VariableSetKind_VAR_RESET:
		e.Kind = ResetName
	case pg_query.VariableSetKind_VAR_RESET_ALL:
		e.Kind = ResetAll
	}
	return e
}

func discarded(mode pg_query.DiscardMode) string {
	switch mode {
	case pg_query.DiscardMode_DISCARD_PLANS:
		return "plans"
	case pg_query.DiscardMode_DISCARD_SEQUENCES:
		return "sequences"
	case pg_query.DiscardMode_DISCARD_TEMP:
		return "temp"
	}
	return "all"
}

// foldName folds the name of a parameter as PostgreSQL compares them: ASCII
// letters only (guc_name_compare).
func foldName(name string) string {
	folded := []byte(name)
	for i, c := range folded {
		if c >= 'A' && c <= 'Z' {
			folded[i] = c | 0x20
		}
	}
	return string(folded)
}
