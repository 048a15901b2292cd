package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sluicegate/sluice/pkg/session"
)

// CredentialSource is what the agent logs in with and where it finds the
// password.
type CredentialSource struct {
	User         string
	PasswordFile string // read anew at each login, so that the password can be changed
}

// credential is one entry of a resource; a nil condition always applies.
type credential struct {
	CredentialSource
	when *condition
}

// ErrNoCredential is returned when a resource has no credential for a session.
// The session must be refused.
var ErrNoCredential = errors.New("no credential applies to this session")

// Credential returns the first credential of the session's resource whose
// condition holds.
func (p *Policy) Credential(s *session.Session) (CredentialSource, error) {
	r := p.resources[s.Resource]
	if r == nil {
		return CredentialSource{}, ErrNoCredential
	}
	scope := &scope{session: s}
	for i, entry := range r.credentials {
		applies, err := entry.when.holds(scope)
		if err != nil {
			return CredentialSource{}, fmt.Errorf("credentials[%d] of resource %s: %s", i, r.Name, explain(err))
		}
		if applies {
			return entry.CredentialSource, nil
		}
	}
	return CredentialSource{}, ErrNoCredential
}

// PasswordFiles returns the path of every password that some session may need.
func (p *Policy) PasswordFiles() []string {
	var all []string
	for _, r := range p.resources {
		for _, entry := range r.credentials {
			all = append(all, entry.PasswordFile)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// credentials compiles the entries of one resource.
func (c *compiler) credentials(path string, clauses []credentialClause) []credential {
	if len(clauses) == 0 {
		c.doc.Problem(path, "is missing: say what the agent logs in with")
	}
	var all []credential
	for i, clause := range clauses {
		at := fmt.Sprintf("%s[%d]", path, i)
		if clause.User == "" {
			c.doc.Problem(at+".user", "is missing: write the name to log in with")
		}
		if clause.PasswordFile == "" {
			c.doc.Problem(at+".password_file", "is missing: write the path of a file that holds the password")
		}
		if clause.When == "" && i < len(clauses)-1 {
			c.doc.Problem(at, "has no when and hides the entries after it: put it last")
		}
		entry := credential{CredentialSource: CredentialSource{clause.User, c.relative(clause.PasswordFile)}}
		if clause.When != "" {
			entry.when = c.condition(at+".when", clause.When)
			if entry.when != nil && entry.when.reads.op {
				c.doc.Problem(at+".when", "reads op: the agent logs in before there is an operation; use session, kernel, orch, verified, claimed, agent or assurance")
			}
		}
		all = append(all, entry)
	}
	return all
}
