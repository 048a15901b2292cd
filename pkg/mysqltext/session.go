package mysqltext

import (
	"bytes"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"

	"github.com/sluicegate/sluice/pkg/lineage"
)

// session notes what a statement does to its session, by its first words.
func (d *describer) session(s *statement, st *Statement, words int) {
	effect := func(kind EffectKind, name string) { st.Effects = append(st.Effects, Effect{Kind: kind, Name: name}) }
	name := ""
	if words < len(s.tokens) {
		name = s.name(s.tokens[words])
	}
	switch st.Kind {
	case "BEGIN", "START TRANSACTION":
		effect(Begin, "")
	case "COMMIT":
		effect(Commit, "")
	case "ROLLBACK":
		if i := s.find(1, "to"); i > 0 {
			st.Kind = "ROLLBACK TO SAVEPOINT"
			return
		}
		effect(Rollback, "")
	case "XA":
		st.Kind = strings.TrimSpace("XA " + strings.ToUpper(s.keyword(1)))
	case "USE":
		d.opt.database = d.opt.foldRelation(name)
		effect(Use, d.opt.database)
	case "DEALLOCATE":
		effect(Deallocate, fold(name))
	case "EXECUTE":
		st.Runs = fold(name)
	case "LOCK TABLES", "FLUSH TABLES", "LOCK INSTANCE", "BACKUP":
		effect(Lock, "")
	case "UNLOCK TABLES", "UNLOCK INSTANCE":
		effect(Unlock, "")
	case "LOAD DATA", "LOAD XML":
		if local := s.find(1, "local"); local < 0 || local > s.find(1, "infile") {
			st.Opaque, st.Hides = true, true // it reads a file of the server's
		} else {
			st.Kind += " LOCAL"
		}
	case "START REPLICA", "STOP REPLICA", "CHANGE MASTER", "RESET", "PURGE", "FLUSH":
		st.Secret = st.Secret || slices.ContainsFunc(s.tokens, func(t token) bool { return s.word(t, "password") })
	}
}

// set reads SET with its list of variables.
func (d *describer) set(s *statement, st *Statement) refusal {
	if s.keyword(1) == "statement" {
		return refusedMode // it sets variables for the rest of the text
	}
	var written []lineage.Written
	scope := SetVariable
	for from := 1; from < len(s.tokens); {
		end := s.comma(from)
		one := &statement{scratch: s.scratch, tokens: s.tokens[from:end]}
		from = end + 1
		next, why := d.setOne(one, st, scope, &written)
		if why != "" {
			return why
		}
		scope = next
	}
	if len(st.Effects) == 0 {
		return refusedSyntax
	}
	st.Lineage = &lineage.Trace{Written: written}
	settle(st.Lineage)
	return ""
}

// comma returns the end of an item of a list.
func (s *statement) comma(from int) int {
	depth := 0
	for i := from; i < len(s.tokens); i++ {
		switch t := s.tokens[i]; {
		case s.op(t, '('):
			depth++
		case s.op(t, ')'):
			depth--
		case s.op(t, ',') && depth == 0:
			return i
		}
	}
	return len(s.tokens)
}

// scopes are the words that say whose variable is set.
var scopes = map[string]EffectKind{
	"global": SetGlobal, "persist": SetGlobal, "persist_only": SetGlobal, "session": SetVariable, "local": SetVariable,
}

// setOne reads one assignment. A scope holds for those behind it, too.
func (d *describer) setOne(s *statement, st *Statement, scope EffectKind, written *[]lineage.Written) (EffectKind, refusal) {
	if len(s.tokens) == 0 {
		return scope, refusedSyntax
	}
	if named, ok := scopes[s.keyword(0)]; ok && len(s.tokens) > 1 && !s.assigns(1) {
		scope = named
		s.tokens = s.tokens[1:]
	}
	first := s.tokens[0]
	switch word := s.keyword(0); {
	case first.kind == tokUserVar && s.assigns(1):
		return scope, d.setUser(s, st, written)
	case word == "names" && !s.assigns(1):
		st.Effects = append(st.Effects, Effect{Kind: SetVariable, Name: "names", Values: s.constants(1)})
		return scope, ""
	case (word == "character" && s.keyword(1) == "set" || word == "charset") && !s.assigns(1):
		st.Effects = append(st.Effects, Effect{Kind: SetVariable, Name: "character set", Values: s.constants(1)})
		return scope, ""
	case word == "password":
		st.Kind, st.Class, st.Secret = "SET PASSWORD", operation.Privilege, true
		st.Effects = append(st.Effects, Effect{Kind: SetVariable, Name: "password"})
		return scope, ""
	}
	at, name, global := s.variable(scope)
	if name == "" || !s.assigns(at) {
		return scope, refusedSyntax
	}
	e := Effect{Kind: SetVariable, Name: name}
	if global {
		e.Kind, st.Kind, st.Class = SetGlobal, "SET GLOBAL", operation.Admin
	}
	value := s.tokens[at+1:]
	if e.Values = s.constant(value); e.Values == nil && !(len(value) == 1 && s.word(value[0], "default")) {
		if why := d.expressions(s, st, value); why != "" {
			return scope, why
		}
	}
	st.Secret = st.Secret || namesSecret(name)
	st.Effects = append(st.Effects, e)
	return scope, ""
}

// assigns reports whether token i is = or :=.
func (s *statement) assigns(i int) bool {
	return i < len(s.tokens) && s.tokens[i].kind == tokOp && (s.op(s.tokens[i], '=') || string(s.written(s.tokens[i])) == ":=")
}

// variable reads the name of a server's variable: x, a.x, @@x or @@global.x. It
// returns where the name ends.
func (s *statement) variable(scope EffectKind) (end int, name string, global bool) {
	first := s.tokens[0]
	global = scope == SetGlobal
	var parts []string
	switch first.kind {
	case tokSysVar:
		part := string(s.written(first)[2:])
		if part[0] == '`' {
			part = unquote([]byte(part), false)
		}
		parts = append(parts, fold(part))
	case tokWord, tokQuoted:
		parts = append(parts, fold(s.name(first)))
	default:
		return 0, "", false
	}
	end = 1
	for end+1 < len(s.tokens) && s.op(s.tokens[end], '.') && (s.tokens[end+1].kind == tokWord || s.tokens[end+1].kind == tokQuoted) {
		parts = append(parts, fold(s.name(s.tokens[end+1])))
		end += 2
	}
	if named, ok := scopes[parts[0]]; ok && first.kind == tokSysVar {
		global = named == SetGlobal
		parts = parts[1:]
	}
	if len(parts) == 0 {
		return 0, "", false
	}
	// A structured variable, as a key cache's, is the server's.
	return end, parts[len(parts)-1], global || len(parts) > 1
}

// constants are the values from token i, and what follows COLLATE.
func (s *statement) constants(i int) []string {
	var values []string
	for ; i < len(s.tokens); i++ {
		if s.word(s.tokens[i], "collate") || s.word(s.tokens[i], "set") {
			continue
		}
		values = append(values, s.constant(s.tokens[i:i+1])...)
	}
	return values
}

// constant returns the value of an expression that is one literal or one word.
func (s *statement) constant(value []token) []string {
	if len(value) != 1 || s.word(value[0], "default") {
		return nil
	}
	switch t := value[0]; t.kind {
	case tokString:
		return []string{stringValue(s.written(t), s.opt)}
	case tokInteger, tokNumber, tokWord:
		return []string{string(s.written(t))}
	case tokQuoted:
		return []string{s.name(t)}
	}
	return nil
}

// setUser reads @x = value.
func (d *describer) setUser(s *statement, st *Statement, written *[]lineage.Written) refusal {
	name := fold(s.name(s.tokens[0]))
	before := len(st.Effects)
	o, why := d.values(s, st, s.tokens[2:])
	if why != "" {
		return why
	}
	*written = append(*written, o.Written...)
	st.Effects = append(st.Effects[:before:before], append([]Effect{{Kind: Assign, Name: name}}, st.Effects[before:]...)...)
	value := lineage.Union(o.Outputs...)
	*written = append(*written, lineage.Written{Relation: OfVariable, Column: name, Output: value})
	return ""
}

// expressions reads a list of expressions.
func (d *describer) expressions(s *statement, st *Statement, list []token) refusal {
	found, why := d.values(s, st, list)
	if why != "" {
		return why
	}
	if st.Lineage == nil {
		st.Lineage = &lineage.Trace{}
	}
	st.Lineage.Written = append(st.Lineage.Written, found.Written...)
	return ""
}

// values reads a list of expressions as a query's.
func (d *describer) values(s *statement, st *Statement, list []token) (*lineage.Trace, refusal) {
	listed := &statement{scratch: s.scratch, tokens: list}
	text, why := listed.write([]byte("SELECT "), d.neutral)
	if why != "" {
		return nil, why
	}
	node, why := d.a.parsers.parse(string(text), d.opt)
	if why != "" || listed.find(0, "from", "into", "union", "where", "limit", "for", "order", "procedure", "having", "group") >= 0 {
		return nil, refusedSyntax
	}
	w := d.walker(listed, st)
	w.walk(node)
	if w.lost != "" {
		return nil, w.lost
	}
	t := &tracer{opt: d.opt, names: d.a.names, calls: st.Calls}
	found := t.trace(node)
	if found == nil {
		return nil, refusedSyntax
	}
	return found, ""
}

// callProcedure reads CALL name(expressions).
func (d *describer) callProcedure(s *statement, st *Statement) refusal {
	var parts []string
	i := 1
	for ; i < len(s.tokens) && !s.op(s.tokens[i], '('); i++ {
		if t := s.tokens[i]; t.kind == tokWord || t.kind == tokQuoted {
			parts = append(parts, s.name(t))
		} else if !s.op(t, '.') {
			return refusedSyntax
		}
	}
	if len(parts) == 0 {
		return refusedSyntax
	}
	name := fold(parts[len(parts)-1])
	if len(parts) > 1 {
		name = join(d.opt.foldRelation(parts[0]), name)
	}
	st.Functions, st.Calls = addName(st.Functions, name), addName(st.Calls, name)
	if last := len(s.tokens) - 1; i+1 < last && s.op(s.tokens[last], ')') {
		if why := d.expressions(s, st, s.tokens[i+1:last]); why != "" {
			return why
		}
	} else if i < last && !(i+1 == last && s.op(s.tokens[last], ')')) {
		return refusedSyntax
	}
	st.Lineage = nil
	return ""
}

// secretNames are parts of the names that passwords and their like go by.
var secretNames = [...]string{"password", "passwd", "passphrase", "secret", "token", "credential", "auth_string", "private_key"}

func namesSecret(name string) bool {
	return slices.ContainsFunc(secretNames[:], func(part string) bool { return bytes.Contains([]byte(name), []byte(part)) })
}
