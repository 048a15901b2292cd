package approval

import (
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// MaxBreakGlass is how long a break-glass token can be good for.
const MaxBreakGlass = 72 * time.Hour

// breakGlassPeople is how many people sign a token.
const breakGlassPeople = 2

// BreakGlass lets what one rule holds go on while the collector is away. Two
// people sign it beforehand, each with their own key and for both.
type BreakGlass struct {
	ID      string    `json:"id"` // from NewID
	Cluster string    `json:"cluster"`
	Rule    string    `json:"rule"`
	Reason  string    `json:"reason"`
	People  []string  `json:"people"` // names in the roster of those who sign
	From    time.Time `json:"from"`
	Until   time.Time `json:"until"`
}

// breakGlassFile is a token with its signatures: one envelope for each person,
// all over the same payload.
type breakGlassFile struct {
	Signed []json.RawMessage `json:"signed"`
}

// NewBreakGlass returns a token that nobody has signed yet.
func NewBreakGlass(b BreakGlass) ([]byte, error) {
	b.From, b.Until = b.From.Round(0).UTC(), b.Until.Round(0).UTC()
	b.Reason = Printable(b.Reason, maxNote)
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("make break-glass token: %w", err)
	}
	return json.Marshal(b)
}

// SignBreakGlass adds one person's signature to what NewBreakGlass or an
// earlier SignBreakGlass returned.
func SignBreakGlass(token []byte, key crypto.Signer) ([]byte, error) {
	var file breakGlassFile
	var b BreakGlass
	if decodeExactly(token, &b) != nil {
		var err error
		if file, b, err = readBreakGlass(token); err != nil {
			return nil, fmt.Errorf("sign break-glass token: %w", err)
		}
	}
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("sign break-glass token: %w", err)
	}
	sealed, err := seal(breakGlassType, b, key)
	if err != nil {
		return nil, fmt.Errorf("sign break-glass token: %w", err)
	}
	file.Signed = append(file.Signed, sealed)
	return json.Marshal(file)
}

// readBreakGlass reads a token whose signatures are still to be checked. All
// must be over one payload.
func readBreakGlass(token []byte) (file breakGlassFile, b BreakGlass, err error) {
	if err := decodeExactly(token, &file); err != nil || len(file.Signed) == 0 {
		return file, b, errors.New("it is no break-glass token")
	}
	for i, sealed := range file.Signed {
		e, err := parseEnvelope(sealed, breakGlassType)
		if err != nil {
			return file, b, err
		}
		var one BreakGlass
		if err := decodeExactly(e.Payload, &one); err != nil {
			return file, b, fmt.Errorf("decode payload: %w", err)
		}
		if i > 0 && !one.equal(b) {
			return file, b, errors.New("its signatures are over different things")
		}
		b = one
	}
	return file, b, nil
}

// OpenBreakGlass returns a token that each of its people has signed, if it is
// in force now.
func OpenBreakGlass(token []byte, roster *Roster, cluster string, now time.Time) (BreakGlass, error) {
	b, err := openBreakGlass(token, roster)
	switch {
	case err != nil:
	case b.Cluster != cluster:
		err = errors.New("it is for another cluster")
	case now.Before(b.From) || !now.Before(b.Until):
		err = ErrVoteTime
	case !now.Before(roster.NotAfter):
		err = ErrRosterExpired
	}
	if err != nil {
		return BreakGlass{}, fmt.Errorf("open break-glass token: %w", err)
	}
	return b, nil
}

func openBreakGlass(token []byte, roster *Roster) (BreakGlass, error) {
	if roster == nil {
		return BreakGlass{}, ErrNoRoster
	}
	file, b, err := readBreakGlass(token)
	if err != nil {
		return b, err
	}
	if err := b.validate(); err != nil {
		return b, err
	}
	for _, name := range b.People {
		person, found := roster.Approver(name)
		if !found {
			return b, ErrNotApprover
		}
		signed := func(sealed json.RawMessage) bool {
			e, err := parseEnvelope(sealed, breakGlassType)
			return err == nil && slices.ContainsFunc(person.Keys, func(text string) bool {
				key, err := ParsePublicKey(text)
				return err == nil && e.verify(ed25519.PublicKey(key)) == nil
			})
		}
		if !slices.ContainsFunc(file.Signed, signed) {
			return b, fmt.Errorf("%w: %s has not signed it", ErrSignature, name)
		}
	}
	return b, nil
}

// covers reports whether a token lets a request go on: it is of its rule, and
// each of its people could have approved the request.
func (b *BreakGlass) covers(r *Request, roster *Roster) error {
	if b.Rule != r.Rule {
		return errors.New("the token is for another rule")
	}
	for _, name := range b.People {
		person, _ := roster.Approver(name) // openBreakGlass found it
		if !person.inAny(r.Required.Groups) {
			return ErrGroup
		}
		if err := r.checkFourEyes(person); err != nil {
			return err
		}
	}
	return nil
}

func (b BreakGlass) equal(other BreakGlass) bool {
	return b.ID == other.ID && b.Cluster == other.Cluster && b.Rule == other.Rule && b.Reason == other.Reason &&
		slices.Equal(b.People, other.People) && b.From.Equal(other.From) && b.Until.Equal(other.Until)
}

func (b BreakGlass) validate() error {
	people := slices.Compact(slices.Sorted(slices.Values(b.People)))
	switch {
	case !isID(b.ID):
		return errors.New("id is not 128 bits in hex")
	case b.Cluster == "" || b.Rule == "" || b.Reason == "":
		return errors.New("cluster, rule and reason must be given")
	case len(b.People) != breakGlassPeople || len(people) != breakGlassPeople || people[0] == "":
		return fmt.Errorf("it must name %d different people", breakGlassPeople)
	case !b.Until.After(b.From) || b.Until.Sub(b.From) > MaxBreakGlass:
		return fmt.Errorf("it must be good for at most %v", MaxBreakGlass)
	}
	return nil
}
