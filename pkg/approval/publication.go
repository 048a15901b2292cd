package approval

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"slices"
	"time"
)

// MaxPolicy bounds the policy of a publication, in bytes.
const MaxPolicy = 256 << 10

// Publication puts a policy in force on the agents that it names. Somebody of
// the roster's publishers signs it, with their own key.
type Publication struct {
	Cluster string `json:"cluster"`
	// Sequence orders publications: an agent takes none that is not above the
	// last one it took, so that an old one cannot be played back. It is the time
	// of signing in milliseconds, and no agent takes one of its future.
	Sequence uint64   `json:"sequence"`
	Agents   []string `json:"agents"` // patterns of names, as in "build-*"
	// SHA256 is of the policy's text, in hex. Empty: the file on each node holds
	// again.
	SHA256 string `json:"sha256"`
	By     string `json:"by"` // name in the roster
	Reason string `json:"reason"`
}

// Published is a publication with the text that it is about, as it travels and
// as it is kept.
type Published struct {
	Signed []byte `json:"signed"`
	Text   []byte `json:"text,omitempty"`
}

// SequenceAt returns the sequence of a publication that is signed at a time.
func SequenceAt(t time.Time) uint64 { return uint64(t.UnixMilli()) }

// At is when a publication was signed.
func (p *Publication) At() time.Time { return time.UnixMilli(int64(p.Sequence)).UTC() }

// PolicyHash is how publications and records name a policy's text.
func PolicyHash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Publish signs a publication of a text; none publishes the nodes' own files.
func Publish(p Publication, text []byte, key crypto.Signer) (Published, error) {
	p.SHA256, p.Reason = "", Printable(p.Reason, maxNote)
	if text != nil {
		p.SHA256 = PolicyHash(text)
	}
	err := p.validate()
	if err == nil && len(text) > MaxPolicy {
		err = fmt.Errorf("the policy is %d bytes; at most %d can be published", len(text), MaxPolicy)
	}
	if err != nil {
		return Published{}, fmt.Errorf("publish policy: %w", err)
	}
	sealed, err := seal(publicationType, p, key)
	if err != nil {
		return Published{}, fmt.Errorf("publish policy: %w", err)
	}
	return Published{Signed: sealed, Text: text}, nil
}

// ErrPublisher reports a publication by somebody who may not publish.
var ErrPublisher = errors.New("who signed it is in none of the roster's publishers")

// OpenPublished returns a publication that one of the publishers signed for a
// cluster, and that holds the text it is about. Whether it is newer than
// another is the caller's to ask, and so is whether the roster has expired:
// what is in force does not end with it.
func OpenPublished(encoded []byte, roster *Roster, cluster string, now time.Time) (Publication, Published, error) {
	p, published, err := openPublished(encoded, roster, cluster, now)
	if err != nil {
		return Publication{}, Published{}, fmt.Errorf("open publication: %w", err)
	}
	return p, published, nil
}

func openPublished(encoded []byte, roster *Roster, cluster string, now time.Time) (p Publication, published Published, err error) {
	if roster == nil {
		return p, published, ErrNoRoster
	}
	if len(encoded) > 4*MaxPolicy {
		return p, published, errors.New("it is too large")
	}
	if err := json.Unmarshal(encoded, &published); err != nil {
		return p, published, fmt.Errorf("decode: %w", err)
	}
	person, _, err := openSigned(published.Signed, publicationType, &p, func() string { return p.By }, roster, "")
	if err != nil {
		return p, published, err
	}
	switch {
	case !person.inAny(roster.Publishers):
		err = ErrPublisher
	case p.Cluster != cluster:
		err = errors.New("it is for another cluster")
	case p.Sequence > SequenceAt(now.Add(clockSkew)):
		err = ErrVoteTime
	case p.SHA256 == "" && len(published.Text) > 0, p.SHA256 != "" && PolicyHash(published.Text) != p.SHA256:
		err = errors.New("its text is not the one that was signed")
	default:
		err = p.validate()
	}
	return p, published, err
}

// For reports whether a publication is for an agent.
func (p *Publication) For(agent string) bool {
	return slices.ContainsFunc(p.Agents, func(pattern string) bool {
		matches, err := path.Match(pattern, agent)
		return err == nil && matches
	})
}

func (p *Publication) validate() error {
	bad := slices.ContainsFunc(p.Agents, func(pattern string) bool {
		_, err := path.Match(pattern, "")
		return pattern == "" || len(pattern) > 64 || err != nil
	})
	switch {
	case p.Cluster == "" || p.Sequence == 0:
		return errors.New("cluster and sequence must be given")
	case len(p.Agents) == 0 || len(p.Agents) > 1000 || bad:
		return errors.New("agents must be patterns of names, as in build-*")
	case p.SHA256 != "" && !isHex(p.SHA256, sha256.Size):
		return errors.New("sha256 is not a SHA-256 in hex")
	case p.By == "":
		return errors.New("who publishes it is not named")
	}
	return nil
}
