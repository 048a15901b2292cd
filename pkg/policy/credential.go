package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/session"
)

// CredentialSource is what the agent logs in with and where it finds the
// secrets. Each file is read anew at each login, so that it can be changed. At
// least one of PasswordFile, KeyFile, CAKeyFile and TokenFile is set.
type CredentialSource struct {
	User         string
	PasswordFile string
	KeyFile      string // a private key, in PEM
	CertFile     string // its certificate; empty for a bare key
	CAKeyFile    string // private key of an authority that signs short-lived user certificates
	TokenFile    string // a bearer token
	Header       string // the field of HTTP that the token stands in alone; empty: as a bearer token
}

// files returns the paths that are set.
func (s CredentialSource) files() []string {
	all := []string{s.PasswordFile, s.KeyFile, s.CertFile, s.CAKeyFile, s.TokenFile}
	return slices.DeleteFunc(all, func(path string) bool { return path == "" })
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

// Credentials returns every credential of the named resource.
func (p *Policy) Credentials(resource string) []CredentialSource {
	r := p.resources[resource]
	if r == nil {
		return nil
	}
	all := make([]CredentialSource, len(r.credentials))
	for i, entry := range r.credentials {
		all[i] = entry.CredentialSource
	}
	return all
}

// SecretFiles returns the path of every file of a credential that some session
// may need.
func (p *Policy) SecretFiles() []string {
	var all []string
	for _, r := range p.resources {
		for _, entry := range r.credentials {
			all = append(all, entry.files()...)
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
		c.secrets(at, &clause)
		if clause.When == "" && i < len(clauses)-1 {
			c.doc.Problem(at, "has no when and hides the entries after it: put it last")
		}
		entry := credential{CredentialSource: CredentialSource{
			clause.User, c.relative(clause.PasswordFile), c.relative(clause.KeyFile), c.relative(clause.CertFile), c.relative(clause.CAKeyFile),
			c.relative(clause.TokenFile), clause.Header,
		}}
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

// fieldName is how a field of HTTP is called here, as in X-Api-Key.
var fieldName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$`)

// noCredential are the fields that say what a message is or how it travels, in
// which no credential stands. A hyphen at the end stands for all that go on.
var noCredential = []string{
	"accept", "accept-", "cache-", "connection", "content-", "cookie", "cookie2", "date", "expect", "forwarded", "from", "host", "if-", "keep-",
	"proxy-", "range", "referer", "sec-", "set-", "te", "trailer", "transfer-", "upgrade", "user-agent", "via", "x-forwarded-",
}

// isCredentialField reports whether a credential can stand in a field of HTTP.
func isCredentialField(name string) bool {
	lower := strings.ToLower(name)
	return fieldName.MatchString(name) && !slices.ContainsFunc(noCredential, func(other string) bool {
		return lower == other || strings.HasSuffix(other, "-") && strings.HasPrefix(lower, other)
	})
}

// secrets checks which files an entry names.
func (c *compiler) secrets(at string, clause *credentialClause) {
	switch {
	case clause.PasswordFile == "" && clause.KeyFile == "" && clause.CAKeyFile == "" && clause.TokenFile == "":
		c.doc.Problem(at+".password_file", "is missing: write the path of a file that holds the password, or key_file, or ca_key_file, or token_file")
	case clause.CertFile != "" && clause.KeyFile == "":
		c.doc.Problem(at+".cert_file", "has no use without its key: write key_file")
	case clause.CAKeyFile != "" && clause.KeyFile != "":
		c.doc.Problem(at+".ca_key_file", "has no use beside key_file: keep one")
	case clause.Header != "" && clause.TokenFile == "":
		c.doc.Problem(at+".header", "has no use without what stands in it: write token_file")
	case clause.Header != "" && !isCredentialField(clause.Header):
		c.doc.Problem(at+".header", "%q is not a field for a credential: write one as in X-Api-Key", clause.Header)
	case clause.TokenFile != "" && (clause.PasswordFile != "" || clause.KeyFile != "" || clause.CAKeyFile != ""):
		c.doc.Problem(at+".token_file", "stands alone: keep it or what is beside it")
	}
}
