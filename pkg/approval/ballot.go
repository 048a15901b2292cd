package approval

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Why a vote does not count.
var (
	ErrWrongRequest = errors.New("the vote is about another request")
	ErrScope        = errors.New("the scope of a vote can only be once, or what the request offers")
	ErrVoteTime     = errors.New("the vote is not valid at this time")
	ErrDeadline     = errors.New("the deadline of the request has passed")
	ErrNotApprover  = errors.New("the approver is not in the roster")
	ErrGroup        = errors.New("the approver is in none of the groups that the rule names")
	ErrFourEyes     = errors.New("somebody else than who started it must approve")
	ErrAlready      = errors.New("this person or key has voted already")
	ErrNoRoster     = errors.New("there is no roster of approvers")
	ErrOwnKey       = errors.New("the rule demands a vote by the approver's own key: use sluice approvals")
	ErrLogin        = errors.New("the console's login does not stand for this approver, or is too old")
)

// clockSkew is how far the clock of an approver may run ahead of or behind
// ours.
const clockSkew = 2 * time.Minute

// Ballot counts the votes on one request. It has neither clock nor network,
// and is not safe for concurrent use.
type Ballot struct {
	request Request
	hash    string
	yes     []ballotPaper
	no      *Vote
}

// ballotPaper is a yes that was valid when it came.
type ballotPaper struct {
	vote   Vote
	signed []byte
}

// NewBallot opens a ballot on the request that agentKey signed.
func NewBallot(signedRequest []byte, agentKey ed25519.PublicKey) (*Ballot, error) {
	request, err := OpenRequest(signedRequest, agentKey)
	if err != nil {
		return nil, err
	}
	return &Ballot{request: request, hash: RequestHash(signedRequest)}, nil
}

// Request returns what is voted on.
func (b *Ballot) Request() Request { return b.request }

// Add checks a vote and counts it. An error says why it does not count; then
// the ballot is as it was.
func (b *Ballot) Add(signedVote []byte, roster *Roster, now time.Time) (Vote, error) {
	vote, by, err := b.check(signedVote, roster, now)
	if err != nil {
		return Vote{}, err
	}
	if b.no != nil {
		return Vote{}, fmt.Errorf("%w: it is %s", ErrSettled, Denied)
	}
	if vote.Decision == Deny {
		b.no = &vote
		return vote, nil
	}
	for _, paper := range b.yes {
		_, other, err := b.check(paper.signed, roster, now)
		if err == nil && (paper.vote.Approver == vote.Approver || !by.console && bytes.Equal(other.key, by.key)) {
			return Vote{}, ErrAlready
		}
	}
	b.yes = slices.DeleteFunc(b.yes, func(old ballotPaper) bool { return old.vote.Approver == vote.Approver })
	b.yes = append(b.yes, ballotPaper{vote, bytes.Clone(signedVote)})
	return vote, nil
}

// Count returns where the ballot stands. One deny ends it. Every yes is checked
// again, so that one which expired, or whose approver left the roster while
// others were waited for, no longer counts.
func (b *Ballot) Count(roster *Roster, now time.Time) (State, []Vote) {
	if b.no != nil {
		return Denied, []Vote{*b.no}
	}
	var votes []Vote
	for _, paper := range b.yes {
		if vote, _, err := b.check(paper.signed, roster, now); err == nil {
			votes = append(votes, vote)
		}
	}
	if len(votes) < b.request.Required.Votes {
		return Pending, votes
	}
	return Approved, votes
}

// signer is the key behind a vote: an approver's own, or the console's, which
// signs for many.
type signer struct {
	key     ed25519.PublicKey
	console bool
}

// check returns a vote and who signed it, if the vote counts for this request.
func (b *Ballot) check(signed []byte, roster *Roster, now time.Time) (Vote, signer, error) {
	if roster == nil {
		return Vote{}, signer{}, ErrNoRoster
	}
	if !now.Before(roster.NotAfter) {
		return Vote{}, signer{}, ErrRosterExpired
	}
	vote, approver, by, err := openVote(signed, roster)
	if err != nil {
		return Vote{}, signer{}, err
	}
	switch {
	case vote.RequestHash != b.hash:
		err = ErrWrongRequest
	case vote.Scope != Once && vote.Scope != b.request.Scope:
		err = ErrScope
	case !now.Before(b.request.NotAfter):
		err = ErrDeadline
	case !now.Before(vote.Expires) || vote.At.After(now.Add(clockSkew)) || vote.At.Before(b.request.Created.Add(-clockSkew)):
		err = ErrVoteTime
	case !approver.inAny(b.request.Required.Groups):
		err = ErrGroup
	case by.console && b.request.Required.OwnKey:
		err = ErrOwnKey
	case vote.Decision == Approve:
		err = b.request.checkFourEyes(approver)
	}
	if err != nil {
		return Vote{}, signer{}, err
	}
	return vote, by, nil
}

// openVote returns a vote that a key of the approver it names signed, or the
// console's after that approver's login.
func openVote(signed []byte, roster *Roster) (Vote, Approver, signer, error) {
	var vote Vote
	approver, by, err := openSigned(signed, voteType, &vote, func() string { return vote.Approver }, roster, roster.Console)
	if err == nil {
		err = errors.Join(vote.validate(), checkLogin(vote.Login, vote.At, approver, by))
	}
	if err != nil {
		return Vote{}, Approver{}, signer{}, fmt.Errorf("open vote: %w", err)
	}
	return vote, approver, by, nil
}

// openSigned decodes what one key of a person of the roster signed, or the
// console's where one may, and returns both. The payload is read before the
// signature is checked, to learn whose keys to try; the caller does nothing
// with it unless one fits.
func openSigned(signed []byte, payloadType string, value any, name func() string, roster *Roster, console string) (Approver, signer, error) {
	e, err := parseEnvelope(signed, payloadType)
	if err != nil {
		return Approver{}, signer{}, err
	}
	if err := decodeExactly(e.Payload, value); err != nil {
		return Approver{}, signer{}, fmt.Errorf("decode payload: %w", err)
	}
	person, found := roster.Approver(name())
	if !found {
		return Approver{}, signer{}, ErrNotApprover
	}
	for _, text := range person.Keys {
		if key, err := ParsePublicKey(text); err == nil && e.verify(key) == nil {
			return person, signer{key: key}, nil
		}
	}
	if key, err := ParsePublicKey(console); err == nil && e.verify(key) == nil {
		return person, signer{key: key, console: true}, nil
	}
	return Approver{}, signer{}, ErrSignature
}

// checkLogin wants of what the console's key signed at a time that the person
// logged in shortly before, and of all else that it speaks of no login.
func checkLogin(login *Login, at time.Time, person Approver, by signer) error {
	if !by.console {
		if login != nil {
			return ErrLogin
		}
		return nil
	}
	if login == nil || !slices.Contains(person.Accounts, login.Account) {
		return ErrLogin
	}
	if age := at.Sub(login.At); age > MaxLoginAge || age < -clockSkew {
		return ErrLogin
	}
	return nil
}

// checkFourEyes refuses the yes of whoever asks or started the job. Where the
// job's starter is known at an issuer at which the approver is not, the two
// cannot be told apart, and that is a refusal too.
func (r Request) checkFourEyes(approver Approver) error {
	if r.Requester.Account.complete() && slices.Contains(approver.Accounts, r.Requester.Account) {
		return fmt.Errorf("%w: %s is the requester", ErrFourEyes, approver.Name)
	}
	if r.FourEyes == Waived {
		return nil
	}
	if r.Trigger == nil || slices.Contains(approver.Accounts, *r.Trigger) {
		return fmt.Errorf("%w: %s triggered the job", ErrFourEyes, approver.Name)
	}
	if !approver.knownAt(r.Trigger.Issuer) {
		return fmt.Errorf("%w: the roster names no account of %s at %s, where the job was triggered",
			ErrFourEyes, approver.Name, r.Trigger.Issuer)
	}
	return nil
}

// Check tells whether one vote would count, all else aside. The collector asks
// before it passes a vote on, so that the approver learns at once what is
// wrong.
func Check(signedRequest, signedVote []byte, agentKey ed25519.PublicKey, roster *Roster, now time.Time) (Vote, error) {
	ballot, err := NewBallot(signedRequest, agentKey)
	if err != nil {
		return Vote{}, err
	}
	return ballot.Add(signedVote, roster, now)
}
