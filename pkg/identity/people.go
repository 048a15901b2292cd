package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-oidc/v3/oidc"
)

// maxGroups bounds the groups of one person.
const maxGroups = 1024

// PeopleConfig says whose tokens people come with.
type PeopleConfig struct {
	Issuer      string   // as in the iss claim; https, or http on loopback
	CAFile      string   // roots of its server's certificate; empty: the system's
	Audience    string   // that the token must be meant for: our client id
	Algorithms  []string // empty: RS256 and ES256
	GroupsClaim string   // path of the claim that lists groups; empty: groups
	// What logins need besides: our secret at the issuer, empty for a public
	// client, and scopes to ask for besides openid, profile and email.
	Secret string
	Scopes []string
}

// Person is somebody whom the issuer vouches for. Issuer and Subject together
// are the name that does not change; the rest is for display, but for Groups.
type Person struct {
	Issuer  string
	Subject string
	Email   string // empty unless the issuer says that it verified it
	Name    string
	Groups  []string
}

// People verifies people. It is safe for concurrent use.
type People struct {
	source      *source
	groupsClaim string
	secret      string
	scopes      []string
}

// NewPeople checks the configuration. It does not ask the issuer yet. When ctx
// ends nothing is fetched any more.
func NewPeople(ctx context.Context, cfg PeopleConfig) (*People, error) {
	source, err := newSource(ctx, cfg.Issuer, cfg.Audience, cfg.CAFile, cfg.Algorithms, nil)
	if err != nil {
		return nil, err
	}
	if cfg.GroupsClaim == "" {
		cfg.GroupsClaim = "groups"
	}
	return &People{source, cfg.GroupsClaim, cfg.Secret, append([]string{oidc.ScopeOpenID, "profile", "email"}, cfg.Scopes...)}, nil
}

// Person returns who presents a bearer token.
func (p *People) Person(ctx context.Context, bearer string) (Person, error) {
	token, err := p.source.verify(ctx, bearer, p.source.audience)
	if err != nil {
		return Person{}, fmt.Errorf("verify person: %w", err)
	}
	return p.personOf(token)
}

// personOf reads a verified token.
func (p *People) personOf(token *oidc.IDToken) (person Person, err error) {
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return Person{}, fmt.Errorf("verify person: %w", err)
	}
	person = Person{Issuer: token.Issuer, Subject: token.Subject}
	person.Name, _ = claims["name"].(string)
	if verified, _ := claims["email_verified"].(bool); verified {
		person.Email, _ = claims["email"].(string)
	}
	if person.Groups, err = groupsOf(lookup(claims, p.groupsClaim)); err != nil {
		return Person{}, fmt.Errorf("verify person: claim %s: %w", p.groupsClaim, err)
	}
	return person, nil
}

// groupsOf reads a list of names, or one name. A claim of another form is
// refused rather than read as no groups.
func groupsOf(claim any) ([]string, error) {
	switch claim := claim.(type) {
	case nil:
		return nil, nil
	case string:
		return []string{claim}, nil
	case []any:
		if len(claim) > maxGroups {
			return nil, fmt.Errorf("more than %d groups", maxGroups)
		}
		groups := make([]string, 0, len(claim))
		for _, entry := range claim {
			group, ok := entry.(string)
			if !ok {
				return nil, errors.New("a group is not a name")
			}
			groups = append(groups, group)
		}
		return groups, nil
	}
	return nil, errors.New("it is not a list of names")
}
