package mysqltext

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
)

// kind is what the first words of a statement tell.
type kind struct {
	name   string // in the words of the server's reference
	class  operation.Class
	traits trait
}

// trait is a set of things that hold for a kind of statement. None is the
// careful answer.
type trait uint16

const (
	shares   trait = 1 << iota // no literal in it has a part in its analysis
	harmless                   // by itself without effect beyond the transaction
	hides                      // it runs or reads what the text does not show
	secret                     // its literals are passwords, or may be
	tree                       // it is nothing without its syntax tree
	treed                      // it has a syntax tree, mostly; otherwise it hides
	lists                      // it lists relations and words of its own, and nothing else
	compound                   // what follows up to the end of the text may be part of it
)

// plainKinds are those that their first words tell, longest first where one
// begins another.
var plainKinds = map[string]kind{
	"select":  {"SELECT", operation.Read, tree | shares | harmless},
	"values":  {"SELECT", operation.Read, tree | shares | harmless},
	"table":   {"SELECT", operation.Read, tree | shares | harmless},
	"(":       {"SELECT", operation.Read, tree | shares | harmless},
	"with":    {"SELECT", operation.Read, tree | shares | harmless},
	"insert":  {"INSERT", operation.Write, tree | shares},
	"replace": {"REPLACE", operation.Write, tree | shares},
	"update":  {"UPDATE", operation.Write, tree | shares},
	"delete":  {"DELETE", operation.Write, tree | shares},

	"begin":                   {"BEGIN", operation.Transaction, shares | harmless},
	"begin not atomic":        {"BEGIN NOT ATOMIC", operation.Procedural, hides | compound},
	"start transaction":       {"START TRANSACTION", operation.Transaction, shares | harmless},
	"commit":                  {"COMMIT", operation.Transaction, shares},
	"rollback":                {"ROLLBACK", operation.Transaction, shares | harmless},
	"savepoint":               {"SAVEPOINT", operation.Transaction, shares | harmless},
	"release savepoint":       {"RELEASE SAVEPOINT", operation.Transaction, shares | harmless},
	"lock tables":             {"LOCK TABLES", operation.Transaction, lists},
	"lock table":              {"LOCK TABLES", operation.Transaction, lists},
	"unlock tables":           {"UNLOCK TABLES", operation.Transaction, 0},
	"unlock table":            {"UNLOCK TABLES", operation.Transaction, 0},
	"lock instance":           {"LOCK INSTANCE", operation.Admin, 0},
	"unlock instance":         {"UNLOCK INSTANCE", operation.Admin, 0},
	"xa":                      {"XA", operation.Transaction, 0},
	"use":                     {"USE", operation.SessionSet, 0},
	"set":                     {"SET", operation.SessionSet, 0},
	"deallocate prepare":      {"DEALLOCATE", operation.SessionSet, shares | harmless},
	"drop prepare":            {"DEALLOCATE", operation.SessionSet, shares | harmless},
	"prepare":                 {"PREPARE", operation.Read, 0},
	"execute":                 {"EXECUTE", operation.Procedural, hides},
	"execute immediate":       {"EXECUTE IMMEDIATE", operation.Procedural, hides},
	"if":                      {"IF", operation.Procedural, hides | compound},
	"case":                    {"CASE", operation.Procedural, hides | compound},
	"loop":                    {"LOOP", operation.Procedural, hides | compound},
	"while":                   {"WHILE", operation.Procedural, hides | compound},
	"repeat":                  {"REPEAT", operation.Procedural, hides | compound},
	"for":                     {"FOR", operation.Procedural, hides | compound},
	"declare":                 {"DECLARE", operation.Procedural, hides | compound},
	"call":                    {"CALL", operation.Procedural, hides},
	"do":                      {"DO", operation.Read, shares | harmless},
	"signal":                  {"SIGNAL", operation.Procedural, hides},
	"resignal":                {"RESIGNAL", operation.Procedural, hides},
	"get":                     {"GET DIAGNOSTICS", operation.Procedural, hides},
	"handler":                 {"HANDLER", operation.Read, lists | hides},
	"load data":               {"LOAD DATA", operation.Copy, tree},
	"load xml":                {"LOAD XML", operation.Copy, hides | lists},
	"load index into":         {"LOAD INDEX INTO CACHE", operation.Admin, lists},
	"import table":            {"IMPORT TABLE", operation.Admin, hides},
	"import":                  {"IMPORT", operation.Admin, hides},
	"help":                    {"HELP", operation.Read, harmless},
	"show":                    {"SHOW", operation.Read, shares | harmless},
	"explain":                 {"EXPLAIN", operation.Read, shares | harmless},
	"describe":                {"EXPLAIN", operation.Read, shares | harmless},
	"desc":                    {"EXPLAIN", operation.Read, shares | harmless},
	"truncate":                {"TRUNCATE", operation.Write, treed | lists},
	"rename table":            {"RENAME TABLE", operation.DDL, lists},
	"rename tables":           {"RENAME TABLE", operation.DDL, lists},
	"analyze":                 {"ANALYZE", operation.Admin, lists},
	"optimize":                {"OPTIMIZE TABLE", operation.Admin, lists},
	"repair":                  {"REPAIR TABLE", operation.Admin, lists},
	"check":                   {"CHECK TABLE", operation.Admin, lists},
	"checksum":                {"CHECKSUM TABLE", operation.Admin, lists},
	"cache index":             {"CACHE INDEX", operation.Admin, lists},
	"kill":                    {"KILL", operation.Admin, 0},
	"shutdown":                {"SHUTDOWN", operation.Admin, 0},
	"restart":                 {"RESTART", operation.Admin, 0},
	"flush":                   {"FLUSH", operation.Admin, 0},
	"flush table":             {"FLUSH TABLES", operation.Admin, lists},
	"flush tables":            {"FLUSH TABLES", operation.Admin, lists},
	"reset":                   {"RESET", operation.Admin, 0},
	"purge":                   {"PURGE", operation.Admin, 0},
	"change":                  {"CHANGE MASTER", operation.Admin, secret},
	"start":                   {"START REPLICA", operation.Admin, secret},
	"stop":                    {"STOP REPLICA", operation.Admin, 0},
	"binlog":                  {"BINLOG", operation.Admin, hides},
	"clone":                   {"CLONE", operation.Admin, hides | secret},
	"backup":                  {"BACKUP", operation.Admin, lists},
	"install":                 {"INSTALL PLUGIN", operation.Admin, hides},
	"install soname":          {"INSTALL SONAME", operation.Admin, hides},
	"install component":       {"INSTALL COMPONENT", operation.Admin, hides},
	"uninstall":               {"UNINSTALL PLUGIN", operation.Admin, hides},
	"uninstall soname":        {"UNINSTALL SONAME", operation.Admin, hides},
	"uninstall component":     {"UNINSTALL COMPONENT", operation.Admin, hides},
	"grant":                   {"GRANT", operation.Privilege, secret},
	"revoke":                  {"REVOKE", operation.Privilege, 0},
	"rename user":             {"RENAME USER", operation.Privilege, 0},
	"set password":            {"SET PASSWORD", operation.Privilege, secret},
	"set role":                {"SET ROLE", operation.SessionSet, 0},
	"set default role":        {"SET DEFAULT ROLE", operation.Privilege, 0},
	"set transaction":         {"SET TRANSACTION", operation.Transaction, 0},
	"set session transaction": {"SET TRANSACTION", operation.Transaction, 0},
	"set local transaction":   {"SET TRANSACTION", operation.Transaction, 0},
	"set global transaction":  {"SET GLOBAL", operation.Admin, 0},
	"set resource group":      {"SET RESOURCE GROUP", operation.Admin, 0},
}

// objects are what CREATE, ALTER and DROP are about, by the word that tells.
var objects = map[string]kind{
	"table":      {"TABLE", operation.DDL, treed | lists},
	"tables":     {"TABLE", operation.DDL, treed | lists},
	"view":       {"VIEW", operation.DDL, treed | lists},
	"index":      {"INDEX", operation.DDL, treed | lists},
	"sequence":   {"SEQUENCE", operation.DDL, treed | lists},
	"database":   {"DATABASE", operation.DDL, 0},
	"schema":     {"DATABASE", operation.DDL, 0},
	"procedure":  {"PROCEDURE", operation.DDL, hides | compound},
	"function":   {"FUNCTION", operation.DDL, hides | compound},
	"package":    {"PACKAGE", operation.DDL, hides | compound},
	"trigger":    {"TRIGGER", operation.DDL, hides | compound},
	"event":      {"EVENT", operation.DDL, hides | compound},
	"server":     {"SERVER", operation.DDL, hides | secret},
	"tablespace": {"TABLESPACE", operation.DDL, 0},
	"logfile":    {"LOGFILE GROUP", operation.DDL, 0},
	"spatial":    {"SPATIAL REFERENCE SYSTEM", operation.DDL, 0},
	"user":       {"USER", operation.Privilege, secret},
	"role":       {"ROLE", operation.Privilege, 0},
	"instance":   {"INSTANCE", operation.Admin, 0},
	"resource":   {"RESOURCE GROUP", operation.Admin, 0},
	"library":    {"LIBRARY", operation.DDL, hides | compound},
}

// skipped are words between CREATE, ALTER or DROP and what it is about.
var skipped = set(`or replace temporary unique fulltext online offline ignore aggregate undo algorithm merge temptable
	undefined sql security invoker definer external if not exists`)

// kindOf returns what the first words of a statement tell, and how many tokens
// these are; known is false for one that we do not know.
func (s *statement) kindOf() (k kind, words int, known bool) {
	if len(s.tokens) == 0 {
		return kind{}, 0, false
	}
	if len(s.tokens) > 1 && s.op(s.tokens[1], ':') {
		return kind{}, 0, false // a label
	}
	verb := s.keyword(0)
	switch verb {
	case "create", "alter", "drop":
		if k, words, known = s.objectKind(verb); known {
			return k, words, true
		}
	}
	for words = 3; words > 0; words-- {
		if k, known = plainKinds[s.keywords(words)]; known {
			return k, words, true
		}
	}
	return kind{}, 0, false
}

// keyword returns word i in lower case, "" for another token.
func (s *statement) keyword(i int) string {
	if i >= len(s.tokens) {
		return ""
	}
	t := s.tokens[i]
	switch {
	case t.kind == tokWord && !t.named && !t.dotted:
		return strings.ToLower(string(s.written(t)))
	case s.op(t, '('):
		return "("
	}
	return ""
}

// keywords returns the first n words.
func (s *statement) keywords(n int) string {
	words := make([]string, 0, n)
	for i := range n {
		words = append(words, s.keyword(i))
	}
	return strings.Join(words, " ")
}

// objectKind finds what CREATE, ALTER or DROP is about.
func (s *statement) objectKind(verb string) (kind, int, bool) {
	for i := 1; i < min(len(s.tokens), 24); i++ {
		word := s.keyword(i)
		if word == "spatial" && s.keyword(i+1) != "reference" {
			continue
		}
		if k, known := objects[word]; known {
			k.name = strings.ToUpper(verb) + " " + k.name
			return s.objectTraits(k, verb, i), i + 1, true
		}
		switch {
		case word == "definer" && i+1 < len(s.tokens) && s.op(s.tokens[i+1], '='):
			i = s.userEnd(i+2) - 1
		case skipped[word] || s.op(s.tokens[i], '='):
		default:
			return kind{}, 0, false
		}
	}
	return kind{}, 0, false
}

// userEnd passes name@host, CURRENT_USER or CURRENT_USER().
func (s *statement) userEnd(i int) int {
	i++
	for i < len(s.tokens) && (s.tokens[i].kind == tokUserVar || s.op(s.tokens[i], '(') || s.op(s.tokens[i], ')')) {
		i++
	}
	return i
}

func (s *statement) objectTraits(k kind, verb string, at int) kind {
	switch {
	case verb == "drop":
		k.traits &^= hides | compound | secret
	case k.name == "CREATE FUNCTION" && slices.ContainsFunc(s.tokens, func(t token) bool { return s.word(t, "soname") }):
		return kind{"CREATE FUNCTION SONAME", operation.Admin, hides}
	case verb == "alter" && s.keyword(at) != "event":
		k.traits &^= compound
	}
	if verb == "alter" && k.name != "ALTER SERVER" && k.traits&tree == 0 && (s.keyword(at) == "procedure" || s.keyword(at) == "function") {
		k.traits &^= hides
	}
	return k
}
