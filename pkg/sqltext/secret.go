package sqltext

import (
	"bytes"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/sluicegate/sluice/pkg/operation"
)

// secretNames are parts of the names that passwords and their like go by.
var secretNames = [...]string{
	"password", "passwd", "passphrase", "passcode", "pwd", "secret", "token", "credential",
	"conninfo", "apikey", "api_key", "private_key", "access_key",
}

// NamesSecret reports whether a text holds the name of a password or the like.
func NamesSecret(text []byte) bool {
	lower := bytes.ToLower(text)
	return slices.ContainsFunc(secretNames[:], func(name string) bool { return bytes.Contains(lower, []byte(name)) })
}

// secretCalls are functions that take a password or a key.
var secretCalls = [...]string{"crypt", "encrypt", "encrypt_iv", "decrypt", "decrypt_iv", "hmac"}

// secrets notes what by its name sets or takes a secret.
func (w *walker) secrets(node any) {
	switch n := node.(type) {
	case *pg_query.DefElem:
		w.secretIf(NamesSecret([]byte(n.GetDefname())))
	case *pg_query.VariableSetStmt:
		w.secretIf(NamesSecret([]byte(n.GetName())))
	case *pg_query.CreateSubscriptionStmt:
		w.secretIf(true)
	case *pg_query.AlterSubscriptionStmt:
		w.secretIf(n.GetConninfo() != "")
	case *pg_query.FuncCall:
		w.secretIf(w.secretCall(n))
	}
}

func (w *walker) secretIf(secret bool) {
	if secret {
		w.eachOpen(func(st *statement) { st.Secret = true })
	}
}

// secretCall reads the parameter's name of set_config: a statement that calls
// it is remembered by its whole text.
func (w *walker) secretCall(n *pg_query.FuncCall) bool {
	parts := nameList(n.GetFuncname())
	if len(parts) == 0 {
		return false
	}
	name := parts[len(parts)-1]
	if name == "set_config" {
		w.shareable = false
		if len(n.GetArgs()) == 0 {
			return true
		}
		parameter := constantText(n.GetArgs()[0])
		return parameter == "" || NamesSecret([]byte(parameter))
	}
	return strings.HasPrefix(name, "dblink") || strings.HasPrefix(name, "pgp_") || slices.Contains(secretCalls[:], name)
}

// hideOpaque marks the statements of a text that may run what stands in its
// literals, if anything in it is named like a secret. The text is one whose
// analysis is remembered for itself alone.
func hideOpaque(a *Analysis, text []byte) {
	opaque := func(st Statement) bool { return st.Opaque || st.Class == operation.Procedural }
	if !slices.ContainsFunc(a.Statements, opaque) || !NamesSecret(text) {
		return
	}
	for i := range a.Statements {
		a.Statements[i].Secret = a.Statements[i].Secret || opaque(a.Statements[i])
	}
}
