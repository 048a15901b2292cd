package collector

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/identity"
)

// callers names whoever sent a request: a person with an OIDC token, or the
// holder of the bootstrap token, who sees everything and cannot vote.
type callers struct {
	bootstrap [sha256.Size]byte
	hasToken  bool
	people    *identity.People // nil: nobody but the bootstrap token
	roles     []GroupRoles
}

// openCallers reads the bootstrap token's hash. Deleting its file, once people
// can sign in, ends the token at the next start. The issuer's keys are fetched
// until ctx ends.
func openCallers(ctx context.Context, cfg *Config) (*callers, error) {
	c := &callers{roles: cfg.People.Roles}
	text, err := os.ReadFile(cfg.dir().bootstrap())
	if err == nil {
		raw, decodeErr := hex.DecodeString(strings.TrimSpace(string(text)))
		if decodeErr != nil || len(raw) != len(c.bootstrap) {
			return nil, errors.New("read bootstrap token: its hash is malformed")
		}
		copy(c.bootstrap[:], raw)
		c.hasToken = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read bootstrap token: %w", err)
	}
	if cfg.People.Issuer == "" {
		return c, nil
	}
	var secret []byte
	if cfg.People.ClientSecretFile != "" {
		if secret, err = os.ReadFile(string(cfg.People.ClientSecretFile)); err != nil {
			return nil, fmt.Errorf("people: read client secret: %w", err)
		}
	}
	c.people, err = identity.NewPeople(ctx, identity.PeopleConfig{
		Issuer: cfg.People.Issuer, CAFile: string(cfg.People.CAFile),
		Audience: cfg.People.Audience, GroupsClaim: cfg.People.GroupsClaim,
		Secret: strings.TrimSpace(string(secret)), Scopes: cfg.People.Scopes,
	})
	if err != nil {
		return nil, fmt.Errorf("people: %w", err)
	}
	return c, nil
}

func (c *callers) identify(ctx context.Context, token string) (api.Caller, error) {
	hash := sha256.Sum256([]byte(token))
	if c.hasToken && subtle.ConstantTimeCompare(hash[:], c.bootstrap[:]) == 1 {
		return api.Caller{Name: "bootstrap", Grants: []api.Grant{{Roles: []api.Role{api.Admin}}}}, nil
	}
	if c.people == nil {
		return api.Caller{}, api.ErrUnknownCaller
	}
	person, err := c.people.Person(ctx, token)
	if errors.Is(err, identity.ErrIssuerAway) {
		return api.Caller{}, &api.Refusal{Status: http.StatusServiceUnavailable, Reason: "the issuer of your token cannot be reached"}
	}
	if err != nil {
		return api.Caller{}, fmt.Errorf("%w: %w", api.ErrUnknownCaller, err)
	}
	return c.caller(person), nil
}

// caller gives a person the roles of their groups.
func (c *callers) caller(person identity.Person) api.Caller {
	caller := api.Caller{Name: person.Subject, Issuer: person.Issuer, Subject: person.Subject}
	if person.Email != "" {
		caller.Name = person.Email
	}
	for _, entry := range c.roles {
		if slices.Contains(person.Groups, entry.Group) {
			caller.Grants = append(caller.Grants, api.Grant{
				Roles: entry.Roles, Over: view.Pair{Resources: entry.Resources, Repositories: entry.Repositories},
			})
		}
	}
	return caller
}
