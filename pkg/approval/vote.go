package approval

import (
	"crypto"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// Decision is what a vote says.
type Decision string

// The decisions.
const (
	Approve Decision = "approve"
	Deny    Decision = "deny"
)

// Scope is how far an approval reaches.
type Scope string

// Once approves one operation, one time. It is the only scope.
const Once Scope = "once"

// Vote is one person's answer to one request.
type Vote struct {
	RequestHash string    `json:"request_hash"` // from RequestHash
	Decision    Decision  `json:"decision"`
	Scope       Scope     `json:"scope"`
	Approver    string    `json:"approver"` // name in the roster
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"`
	Expires     time.Time `json:"expires"` // the vote does not count from then on
}

// SignVote signs a vote with the approver's Ed25519 key: a key of LoadKey, or
// any other signer that holds one.
func SignVote(v Vote, key crypto.Signer) ([]byte, error) {
	v.At, v.Expires = v.At.Round(0).UTC(), v.Expires.Round(0).UTC()
	v.Reason = Printable(v.Reason, maxNote)
	if err := v.validate(); err != nil {
		return nil, fmt.Errorf("sign vote: %w", err)
	}
	sealed, err := seal(voteType, v, key)
	if err != nil {
		return nil, fmt.Errorf("sign vote: %w", err)
	}
	return sealed, nil
}

func (v Vote) validate() error {
	switch {
	case !isHex(v.RequestHash, sha256.Size):
		return errors.New("request_hash is not a SHA-256 in hex")
	case v.Decision != Approve && v.Decision != Deny:
		return errors.New("the decision is neither approve nor deny")
	case v.Scope != Once:
		return ErrScope
	case v.Approver == "":
		return errors.New("the approver is not named")
	case !v.Expires.After(v.At):
		return errors.New("the vote expires before it is cast")
	}
	return nil
}
