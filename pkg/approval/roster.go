package approval

import (
	"crypto"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Roster says who may approve, and with which keys. An offline root signs it.
type Roster struct {
	Version   uint64     `json:"version"` // grows with every change; from 1
	NotAfter  time.Time  `json:"not_after"`
	Approvers []Approver `json:"approvers"`
	// Console is the key with which the collector signs votes of approvers who
	// have just logged in at its console, "ssh-ed25519 AAAA…". Whoever has it
	// can vote in everybody's name, so a rule can refuse it, and an empty one
	// does for all.
	Console string `json:"console,omitempty"`
	// ConsoleOrders lets that key also kill sessions, quarantine workloads and
	// runs, and lift what it quarantined, in the name of whoever has just logged
	// in.
	ConsoleOrders bool `json:"console_orders,omitempty"`
	// Publishers are the groups whose members can publish policies to agents,
	// with their own keys. Empty: nobody can.
	Publishers []string `json:"publishers,omitempty"`
}

// Approver is one person.
type Approver struct {
	Name  string `json:"name"` // as votes and records name them
	Email string `json:"email,omitempty"`
	// Accounts are where issuers know this person: first of all the login at
	// the collector, then accounts in CI systems. The latter tell the person
	// from whoever triggered a job.
	Accounts []Account `json:"accounts"`
	Groups   []string  `json:"groups"`
	// Keys are "ssh-ed25519 AAAA…", as in an .pub file. Who has none can vote
	// in the console alone.
	Keys []string `json:"keys"`
}

// Account is how an issuer names a person or a workload.
type Account struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

func (a Account) complete() bool { return a.Issuer != "" && a.Subject != "" }

// SignRoster signs a roster with the offline root key.
func SignRoster(r Roster, root crypto.Signer) ([]byte, error) {
	r.NotAfter = r.NotAfter.Round(0).UTC()
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("sign roster: %w", err)
	}
	sealed, err := seal(rosterType, r, root)
	if err != nil {
		return nil, fmt.Errorf("sign roster: %w", err)
	}
	return sealed, nil
}

// ErrRollback reports a roster that is older than one already seen.
var ErrRollback = errors.New("the roster is older than one already seen")

// ErrRosterExpired reports a roster whose time is over.
var ErrRosterExpired = errors.New("the roster has expired")

// OpenRoster returns the roster that the pinned root key signed, unless its
// version is below atLeast.
func OpenRoster(signed []byte, root ed25519.PublicKey, atLeast uint64) (*Roster, error) {
	r := new(Roster)
	if err := open(signed, rosterType, root, r); err != nil {
		return nil, fmt.Errorf("open roster: %w", err)
	}
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("open roster: %w", err)
	}
	if r.Version < atLeast {
		return nil, fmt.Errorf("open roster: %w: version %d, seen %d", ErrRollback, r.Version, atLeast)
	}
	return r, nil
}

// Approver returns the person of a name.
func (r *Roster) Approver(name string) (Approver, bool) {
	for _, approver := range r.Approvers {
		if approver.Name == name {
			return approver, true
		}
	}
	return Approver{}, false
}

// Holder returns the person whom an issuer knows by an account.
func (r *Roster) Holder(account Account) (Approver, bool) {
	for _, approver := range r.Approvers {
		if slices.Contains(approver.Accounts, account) {
			return approver, true
		}
	}
	return Approver{}, false
}

// inAny reports whether the person is in one of the groups.
func (a Approver) inAny(groups []string) bool {
	return slices.ContainsFunc(a.Groups, func(group string) bool { return slices.Contains(groups, group) })
}

// knownAt reports whether the person has an account at the issuer.
func (a Approver) knownAt(issuer string) bool {
	return slices.ContainsFunc(a.Accounts, func(account Account) bool { return account.Issuer == issuer })
}

// validate refuses a roster in which one person could count twice.
func (r *Roster) validate() error {
	if r.Version == 0 || r.NotAfter.IsZero() || len(r.Approvers) == 0 {
		return errors.New("version, not_after and approvers must be given")
	}
	owner := make(map[string]string)
	claim := func(thing, name string) error {
		if other, taken := owner[thing]; taken {
			return fmt.Errorf("%s and %s share %s", other, name, thing)
		}
		owner[thing] = name
		return nil
	}
	var problems []error
	if key, err := ParsePublicKey(r.Console); r.Console != "" && err != nil {
		problems = append(problems, fmt.Errorf("console: %w", err))
	} else if r.Console != "" {
		problems = append(problems, claim(fmt.Sprintf("the key %x", key), "the console"))
	}
	if r.ConsoleOrders && r.Console == "" {
		problems = append(problems, errors.New("console_orders: there is no console's key"))
	}
	if slices.Contains(r.Publishers, "") {
		problems = append(problems, errors.New("publishers: a group's name is empty"))
	}
	for i, approver := range r.Approvers {
		if approver.Name == "" || len(approver.Accounts) == 0 || len(approver.Keys) == 0 && r.Console == "" || len(approver.Groups) == 0 {
			problems = append(problems, fmt.Errorf("approvers[%d]: name, accounts, groups and keys must be given", i))
			continue
		}
		problems = append(problems, claim("the name "+approver.Name, approver.Name))
		if approver.Email != "" {
			problems = append(problems, claim("the e-mail address "+strings.ToLower(approver.Email), approver.Name))
		}
		for _, account := range approver.Accounts {
			if !account.complete() {
				problems = append(problems, fmt.Errorf("approvers[%d]: an account needs issuer and subject", i))
			}
			problems = append(problems, claim(fmt.Sprintf("the account %s at %s", account.Subject, account.Issuer), approver.Name))
		}
		for _, text := range approver.Keys {
			key, err := ParsePublicKey(text)
			if err != nil {
				problems = append(problems, fmt.Errorf("approvers[%d]: %w", i, err))
				continue
			}
			problems = append(problems, claim(fmt.Sprintf("the key %x", key), approver.Name))
		}
	}
	return errors.Join(problems...)
}
