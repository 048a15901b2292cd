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

// The scopes. A vote has Once or the scope that its request offers.
const (
	Once         Scope = "once"    // one operation, one time
	SessionScope Scope = "session" // whatever the same rule holds in the same session
	ShapeScope   Scope = "shape"   // the same action of the same requester again, values included
)

// valid reports whether a scope is one of the three.
func (s Scope) valid() bool { return s == Once || s == SessionScope || s == ShapeScope }

// Vote is one person's answer to one request.
type Vote struct {
	RequestHash string    `json:"request_hash"` // from RequestHash
	Decision    Decision  `json:"decision"`
	Scope       Scope     `json:"scope"`
	Approver    string    `json:"approver"` // name in the roster
	Reason      string    `json:"reason"`
	At          time.Time `json:"at"`
	Expires     time.Time `json:"expires"` // the vote does not count from then on
	// Login is set when the console's key signs for somebody who has just
	// logged in there, and never when the approver's own key does.
	Login *Login `json:"login,omitempty"`
}

// Login is how the console knows an approver.
type Login struct {
	Account Account   `json:"account"` // whom the issuer vouched for
	At      time.Time `json:"at"`      // when they proved it to the issuer: OpenID Connect's auth_time
}

// rounded returns a copy as it is signed.
func (l *Login) rounded() *Login {
	if l == nil {
		return nil
	}
	return &Login{l.Account, l.At.Round(0).UTC()}
}

// MaxLoginAge is how long after a login the console may sign by it, so that
// somebody who finds or steals an open session can neither vote nor order.
const MaxLoginAge = 5 * time.Minute

// SignVote signs a vote with an Ed25519 key: the approver's own, of LoadKey or
// of any other signer that holds one, or the console's.
func SignVote(v Vote, key crypto.Signer) ([]byte, error) {
	v.At, v.Expires = v.At.Round(0).UTC(), v.Expires.Round(0).UTC()
	v.Reason = Printable(v.Reason, maxNote)
	v.Login = v.Login.rounded()
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
	case !v.Scope.valid():
		return ErrScope
	case v.Approver == "":
		return errors.New("the approver is not named")
	case !v.Expires.After(v.At):
		return errors.New("the vote expires before it is cast")
	case v.Login != nil && !v.Login.Account.complete():
		return errors.New("the login names no account")
	}
	return nil
}
