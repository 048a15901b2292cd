package approval

import (
	"crypto"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Bounds of a pre-approval.
const (
	MaxPreapproval = 30 * 24 * time.Hour
	MaxShapes      = 256
)

// Preapproval is one person's yes to the statements of a file that they
// reviewed: what a rule holds of them goes on when the job of that commit runs
// them. Where a rule wants more votes, each person signs the same.
type Preapproval struct {
	ID         string    `json:"id"` // from NewID
	Cluster    string    `json:"cluster"`
	Issuer     string    `json:"issuer"`     // of the job's verified token
	Repository string    `json:"repository"` // of that token
	Commit     string    `json:"commit"`     // of that token, whole
	Resource   string    `json:"resource"`
	Rule       string    `json:"rule"`
	Where      Where     `json:"where"` // what the names in the statements mean
	File       string    `json:"file"`  // hex SHA-256 of the reviewed file
	Shapes     []Shape   `json:"shapes"`
	By         string    `json:"by"` // name in the roster
	Reason     string    `json:"reason"`
	At         time.Time `json:"at"`
	Expires    time.Time `json:"expires"`
}

// Shape is one reviewed statement: the digest of its exact tokens, and the line
// of the file on which it begins.
type Shape struct {
	Digest string `json:"digest"` // hex SHA-256
	Line   int    `json:"line"`
}

// SignPreapproval signs with the key of the person who reviewed.
func SignPreapproval(p Preapproval, key crypto.Signer) ([]byte, error) {
	p.At, p.Expires = p.At.Round(0).UTC(), p.Expires.Round(0).UTC()
	p.Reason = Printable(p.Reason, maxNote)
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("sign pre-approval: %w", err)
	}
	sealed, err := seal(preapprovalType, p, key)
	if err != nil {
		return nil, fmt.Errorf("sign pre-approval: %w", err)
	}
	return sealed, nil
}

// OpenPreapproval returns what somebody of the roster signed with their own key,
// if it is in force now in a cluster.
func OpenPreapproval(signed []byte, roster *Roster, cluster string, now time.Time) (Preapproval, error) {
	p, _, err := openPreapproval(signed, roster, cluster, now)
	if err != nil {
		return Preapproval{}, fmt.Errorf("open pre-approval: %w", err)
	}
	return p, nil
}

func openPreapproval(signed []byte, roster *Roster, cluster string, now time.Time) (p Preapproval, by Approver, err error) {
	switch {
	case roster == nil:
		return p, by, ErrNoRoster
	case !now.Before(roster.NotAfter):
		return p, by, ErrRosterExpired
	}
	by, _, err = openSigned(signed, preapprovalType, &p, func() string { return p.By }, roster, "")
	if err == nil {
		err = p.validate()
	}
	switch {
	case err != nil:
		return p, by, err
	case p.Cluster != cluster:
		return p, by, errors.New("it is for another cluster")
	case !now.Before(p.Expires) || p.At.After(now.Add(clockSkew)):
		return p, by, ErrVoteTime
	}
	return p, by, nil
}

// PreapprovalID returns the id of signed bytes that say that they are a
// pre-approval. Who signed them is not asked.
func PreapprovalID(signed []byte) (id string, ok bool) {
	e, err := parseEnvelope(signed, preapprovalType)
	if err != nil {
		return "", false
	}
	var p Preapproval
	if decodeExactly(e.Payload, &p) != nil || p.validate() != nil {
		return "", false
	}
	return p.ID, true
}

// Preapproved is the answer that reviewed files gave.
type Preapproved struct {
	Files  []Preapproval // one for each person
	Signed [][]byte      // likewise
	Lines  []int         // on which its statements begin in the file
}

// Preapproved returns the files that release a request, nil where people must be
// asked: digests are its statements by their exact tokens. Everything that a
// vote is checked for is checked of each.
func (d *Desk) Preapproved(request *Request, digests [][sha256.Size]byte, now time.Time) *Preapproved {
	if len(digests) == 0 || request.Requester.Repository == "" || request.Requester.Commit == "" {
		return nil
	}
	roster := d.cfg.Roster()
	var found Preapproved
	for _, signed := range d.cfg.Preapprovals() {
		p, by, err := openPreapproval(signed, roster, request.Cluster, now)
		if err != nil || slices.ContainsFunc(found.Files, func(other Preapproval) bool { return other.By == p.By }) {
			continue
		}
		lines := p.releases(request, digests)
		if lines == nil || !by.inAny(request.Required.Groups) || request.checkFourEyes(by) != nil {
			continue
		}
		found.Files, found.Signed, found.Lines = append(found.Files, p), append(found.Signed, signed), lines
		if len(found.Files) == request.Required.Votes {
			return &found
		}
	}
	return nil
}

// releases returns the lines of the statements of a request, nil unless all of
// them are among the reviewed ones and everything else is as it was signed.
func (p *Preapproval) releases(r *Request, digests [][sha256.Size]byte) (lines []int) {
	q := &r.Requester
	if p.Issuer != q.Account.Issuer || p.Repository != q.Repository || p.Commit != q.Commit ||
		p.Resource != r.Resource || p.Rule != r.Rule || p.Where != r.Where {
		return nil
	}
	for _, digest := range digests {
		text := hex.EncodeToString(digest[:])
		at := slices.IndexFunc(p.Shapes, func(s Shape) bool { return s.Digest == text })
		if at < 0 {
			return nil
		}
		lines = append(lines, p.Shapes[at].Line)
	}
	return lines
}

func (p *Preapproval) validate() error {
	switch {
	case !isID(p.ID):
		return errors.New("id is not 128 bits in hex")
	case p.Cluster == "" || p.Issuer == "" || p.Repository == "" || p.Resource == "" || p.Rule == "" || p.By == "":
		return errors.New("cluster, issuer, repository, resource, rule and approver must be named")
	case !isHex(p.Commit, 20) && !isHex(p.Commit, 32):
		return errors.New("the commit is not a whole id in lower-case hex")
	case p.Where.Database == "" || p.Where.Role == "":
		return errors.New("database and role must be named")
	case !isHex(p.File, sha256.Size):
		return errors.New("the file is not named by a SHA-256 in hex")
	case len(p.Shapes) == 0 || len(p.Shapes) > MaxShapes:
		return fmt.Errorf("it must have between one statement and %d", MaxShapes)
	case slices.ContainsFunc(p.Shapes, func(s Shape) bool { return !isHex(s.Digest, sha256.Size) || s.Line < 1 }):
		return errors.New("a statement has no digest or no line")
	case !p.Expires.After(p.At) || p.Expires.Sub(p.At) > MaxPreapproval:
		return fmt.Errorf("it must last between a moment and %v", MaxPreapproval)
	}
	return nil
}
