package policy

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
)

// scope is what conditions can read while one question is answered. It is
// used by one goroutine.
type scope struct {
	session *session.Session
	op      *operation.Operation // nil when a credential is chosen

	list    []*statement // of op.sql, made when the first condition reads it
	changes []*gitRef    // of op.git, likewise

	namesUnknown bool // the condition that is being asked tells "unknown" from "true"
}

// sqlScope is a scope seen as op.sql.
type sqlScope scope

// statement is one statement with the names that its relations answer to.
type statement struct {
	operation.SQLStatement
	context *operation.Context
	names   []string // made when the first condition reads them
}

// ResolveName returns the value of a variable; it makes scope a cel.Activation.
func (s *scope) ResolveName(name string) (any, bool) {
	switch name {
	case "op":
		return s, s.op != nil
	case "session":
		return s.session, true
	case "kernel":
		return &s.session.Workload.Kernel, true
	case "orch":
		return &s.session.Workload.Orch, true
	case "verified":
		return s.session.Workload.Verified, true
	case "claimed":
		return &s.session.Workload.Claimed, true
	case "agent":
		return &s.session.Workload.Agent, true
	case "assurance":
		return int64(s.session.Workload.Assurance), true
	}
	return nil, false
}

// Parent returns nil: there is no scope around this one.
func (s *scope) Parent() cel.Activation { return nil }

// statements returns the operation's statements; none when it is not SQL.
func (s *sqlScope) statements() []*statement {
	if s.list == nil && s.op.SQL != nil {
		made := make([]statement, len(s.op.SQL.Statements))
		s.list = make([]*statement, len(made))
		for i := range made {
			made[i] = statement{SQLStatement: s.op.SQL.Statements[i], context: &s.op.Context}
			s.list[i] = &made[i]
		}
	}
	return s.list
}

// relations returns every name under which a rule can ask for one of the
// statement's relations: as it was written; the last part alone; and, for what
// was written without a schema, the name in each schema of the search path.
// More names make deny and hold rules match more, and an allow rule that
// demands all names to be listed match less.
func (s *statement) relations() []string {
	if s.names != nil || len(s.Relations) == 0 {
		return s.names
	}
	schemas := searchPath(s.context)
	s.names = make([]string, 0, len(s.Relations)*(1+len(schemas)))
	for _, written := range s.Relations {
		s.names = append(s.names, written)
		if dot := strings.LastIndexByte(written, '.'); dot >= 0 {
			s.names = append(s.names, written[dot+1:])
			continue
		}
		for _, schema := range schemas {
			s.names = append(s.names, schema+"."+written)
		}
	}
	return s.names
}

// searchPath returns the schemas that a bare name may stand for. Where the
// path is not known, PostgreSQL's default holds.
func searchPath(c *operation.Context) []string {
	if strings.TrimSpace(c.SearchPath) == "" {
		return defaultPath(c.Role)
	}
	var schemas []string
	for _, part := range splitPath(c.SearchPath) {
		if unquoted, found := strings.CutPrefix(part, `"`); found {
			part = strings.ReplaceAll(strings.TrimSuffix(unquoted, `"`), `""`, `"`)
		} else {
			part = strings.Map(lowerASCII, part)
		}
		if part == "$user" {
			part = c.Role
		}
		if part != "" && !slices.Contains(schemas, part) {
			schemas = append(schemas, part)
		}
	}
	return schemas
}

// splitPath cuts a search path at its commas, which names in quotes may hold.
func splitPath(path string) (parts []string) {
	quoted, from := false, 0
	for i := range len(path) {
		switch {
		case path[i] == '"':
			quoted = !quoted // a doubled quote inside turns it twice
		case path[i] == ',' && !quoted:
			parts = append(parts, strings.TrimSpace(path[from:i]))
			from = i + 1
		}
	}
	return append(parts, strings.TrimSpace(path[from:]))
}

// defaultPath is what "$user", public stands for.
func defaultPath(role string) []string {
	if role == "" {
		return []string{"public"}
	}
	return []string{role, "public"}
}
