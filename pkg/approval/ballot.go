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
	ErrScope        = errors.New("the scope of a vote can only be once")
	ErrVoteTime     = errors.New("the vote is not valid at this time")
	ErrDeadline     = errors.New("the deadline of the request has passed")
	ErrNotApprover  = errors.New("the approver is not in the roster")
	ErrGroup        = errors.New("the approver is in none of the groups that the rule names")
	ErrFourEyes     = errors.New("somebody else than who started it must approve")
	ErrAlready      = errors.New("this person or key has voted already")
	ErrNoRoster     = errors.New("there is no roster of approvers")
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
	vote, key, err := b.check(signedVote, roster, now)
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
		if err == nil && (paper.vote.Approver == vote.Approver || bytes.Equal(other, key)) {
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

// check returns a vote and the key that signed it, if the vote counts for this
// request.
func (b *Ballot) check(signed []byte, roster *Roster, now time.Time) (Vote, ed25519.PublicKey, error) {
	if roster == nil {
		return Vote{}, nil, ErrNoRoster
	}
	if !now.Before(roster.NotAfter) {
		return Vote{}, nil, ErrRosterExpired
	}
	vote, approver, key, err := openVote(signed, roster)
	if err != nil {
		return Vote{}, nil, err
	}
	switch {
	case vote.RequestHash != b.hash:
		err = ErrWrongRequest
	case !now.Before(b.request.NotAfter):
		err = ErrDeadline
	case !now.Before(vote.Expires) || vote.At.After(now.Add(clockSkew)) || vote.At.Before(b.request.Created.Add(-clockSkew)):
		err = ErrVoteTime
	case !approver.inAny(b.request.Required.Groups):
		err = ErrGroup
	case vote.Decision == Approve:
		err = b.request.checkFourEyes(approver)
	}
	if err != nil {
		return Vote{}, nil, err
	}
	return vote, key, nil
}

// openVote returns a vote that a key of the approver it names signed.
func openVote(signed []byte, roster *Roster) (Vote, Approver, ed25519.PublicKey, error) {
	var vote Vote
	approver, key, err := openSigned(signed, voteType, &vote, func() string { return vote.Approver }, roster)
	if err == nil {
		err = vote.validate()
	}
	if err != nil {
		return Vote{}, Approver{}, nil, fmt.Errorf("open vote: %w", err)
	}
	return vote, approver, key, nil
}

// openSigned decodes what one key of a person of the roster signed, and
// returns both. The payload is read before the signature is checked, to learn
// whose keys to try; the caller does nothing with it unless one fits.
func openSigned(signed []byte, payloadType string, value any, signer func() string, roster *Roster) (Approver, ed25519.PublicKey, error) {
	e, err := parseEnvelope(signed, payloadType)
	if err != nil {
		return Approver{}, nil, err
	}
	if err := decodeExactly(e.Payload, value); err != nil {
		return Approver{}, nil, fmt.Errorf("decode payload: %w", err)
	}
	person, found := roster.Approver(signer())
	if !found {
		return Approver{}, nil, ErrNotApprover
	}
	for _, text := range person.Keys {
		key, err := ParsePublicKey(text)
		if err == nil && e.verify(key) == nil {
			return person, key, nil
		}
	}
	return Approver{}, nil, ErrSignature
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
