package approval

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/workload"
)

// JSON may make six bytes of one, and base64 four of three: both limits
// together stay below maxEnvelope.
const (
	maxText = 24 << 10 // bytes of Request.Text; the hash binds the rest
	maxNote = 1 << 10  // bytes of every other text that is shown
)

// FourEyes says how a request keeps people from approving what they started
// themselves.
type FourEyes string

// The ways of FourEyes.
const (
	// Enforced: the person who triggered the job is known from a verified
	// claim, and a vote counts only from somebody else.
	Enforced FourEyes = "enforced"
	// Waived: that person is not known, and the rule says trigger: unknown-ok.
	Waived FourEyes = "waived"
)

// Request is the question whether one operation may go on.
type Request struct {
	ID        string    `json:"id"` // from NewID
	Agent     string    `json:"agent"`
	Cluster   string    `json:"cluster"`
	Session   string    `json:"session"`
	Operation uint64    `json:"operation"` // within the session
	Resource  string    `json:"resource"`
	Where     Where     `json:"where"`
	Requester Requester `json:"requester"`
	Trigger   *Account  `json:"trigger,omitempty"` // who triggered the job, from a verified claim; nil: not known
	FourEyes  FourEyes  `json:"four_eyes"`
	Action    string    `json:"action"` // from ActionHash
	Text      string    `json:"text"`   // the operation as an approver may see it, masked
	// Asks says in a few words what the text asks; empty where the text does.
	Asks string `json:"asks,omitempty"`
	// Reach is what it would touch, and Before what came before it; nil: nobody
	// looked.
	Reach    *operation.Reach `json:"reach,omitempty"`
	Before   *Before          `json:"before,omitempty"`
	Rule     string           `json:"rule"`
	Reason   string           `json:"reason"`
	Required Required         `json:"required"`
	Scope    Scope            `json:"scope"`  // the widest that a vote may have: the rule's
	Policy   string           `json:"policy"` // hex SHA-256 of the policy file
	Created  time.Time        `json:"created"`
	NotAfter time.Time        `json:"not_after"` // deadline; the agent keeps it by its monotonic clock
}

// Where is what a statement's names mean, as the server said when it was held;
// all empty where the resource knows no such things. The action binds it.
type Where struct {
	Database   string `json:"database,omitempty"`
	Role       string `json:"role,omitempty"`
	SearchPath string `json:"search_path,omitempty"`
}

// Required says whose yes is needed: that of Votes different people, each in
// at least one of Groups.
type Required struct {
	Groups []string `json:"groups"`
	Votes  int      `json:"votes"`
	OwnKey bool     `json:"own_key,omitempty"` // the console's key does not count
}

// Requester is the workload that asks, as far as an approver needs it.
type Requester struct {
	Assurance workload.Assurance `json:"assurance"`
	Account   Account            `json:"account"` // of the verified token; empty below A3
	// Repository is the one of the verified token; it decides which approvers
	// see the request. Empty below A3.
	Repository string             `json:"repository,omitempty"`
	Container  string             `json:"container,omitempty"`
	Name       string             `json:"name,omitempty"`
	Image      string             `json:"image,omitempty"`
	Pod        string             `json:"pod,omitempty"`
	Exe        string             `json:"exe,omitempty"`
	UID        uint32             `json:"uid"`
	Kind       workload.AgentKind `json:"kind"`
	Product    string             `json:"product,omitempty"`
	Evidence   []string           `json:"evidence,omitempty"` // for kind and product, each with its provenance
	Commit     string             `json:"commit,omitempty"`   // of the verified token; empty below A3
	Run        string             `json:"run,omitempty"`      // of the verified token; empty below A3
}

// RequesterOf summarises a workload.
func RequesterOf(w workload.Workload) Requester {
	requester := Requester{
		Assurance:  w.Assurance,
		Repository: w.Repository(),
		Container:  w.Kernel.Container,
		Name:       w.Orch.FullName(),
		Image:      w.Orch.Image,
		Pod:        w.Orch.Pod,
		Exe:        w.Kernel.Exe,
		UID:        w.Kernel.UID,
		Kind:       w.Agent.Kind,
		Product:    w.Agent.Product,
		Evidence:   w.Agent.Evidence,
		Commit:     w.Commit(),
	}
	if run := w.Run(); run.Verified {
		requester.Run = run.ID
	}
	if w.Assurance >= workload.Verified {
		requester.Account.Issuer, _ = w.Verified["iss"].(string)
		requester.Account.Subject, _ = w.Verified["sub"].(string)
	}
	return requester
}

// TriggerOf returns the account of the person who triggered a workload's job,
// or nil where no verified claim names one. GitHub's tokens name it in
// actor_id, GitLab's in user_id; the subject is "actor_id:123".
func TriggerOf(w workload.Workload) *Account {
	issuer, _ := w.Verified["iss"].(string)
	if w.Assurance < workload.Verified || issuer == "" {
		return nil
	}
	for _, claim := range []string{"actor_id", "user_id"} {
		if person, _ := w.Verified[claim].(string); person != "" {
			return &Account{Issuer: issuer, Subject: claim + ":" + person}
		}
	}
	return nil
}

// SignRequest signs a request with the agent's key. What a person will read is
// first made safe to print and cut to what fits.
func SignRequest(r Request, key ed25519.PrivateKey) ([]byte, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("sign approval request: the agent has no key")
	}
	r = r.printable()
	if err := r.validate(); err != nil {
		return nil, fmt.Errorf("sign approval request: %w", err)
	}
	sealed, err := seal(requestType, r, key)
	if errors.Is(err, errTooLarge) {
		sealed, err = seal(requestType, r.brief(), key)
	}
	if err != nil {
		return nil, fmt.Errorf("sign approval request: %w", err)
	}
	return sealed, nil
}

// OpenRequest returns the request that the agent's key signed.
func OpenRequest(signed []byte, agentKey ed25519.PublicKey) (Request, error) {
	var r Request
	if err := open(signed, requestType, agentKey, &r); err != nil {
		return Request{}, fmt.Errorf("open approval request: %w", err)
	}
	if err := r.validate(); err != nil {
		return Request{}, fmt.Errorf("open approval request: %w", err)
	}
	return r, nil
}

// RequestHash is the name that votes give to a signed request: the hex SHA-256
// of its bytes, signature included.
func RequestHash(signed []byte) string {
	sum := sha256.Sum256(signed)
	return hex.EncodeToString(sum[:])
}

func (r Request) validate() error {
	switch {
	case !isID(r.ID):
		return errors.New("id is not 128 bits in hex")
	case r.Agent == "" || r.Session == "" || r.Resource == "" || r.Rule == "":
		return errors.New("agent, session, resource and rule must be named")
	case !isHex(r.Action, sha256.Size):
		return errors.New("action is not a SHA-256 in hex")
	case r.Required.Votes < 1 || len(r.Required.Groups) == 0 || slices.Contains(r.Required.Groups, ""):
		return errors.New("required must name at least one group and one vote")
	case !r.Scope.valid():
		return ErrScope
	case !r.NotAfter.After(r.Created):
		return errors.New("the deadline is not after the beginning")
	case r.FourEyes == Enforced && (r.Trigger == nil || !r.Trigger.complete()):
		return errors.New("the person who triggered the job is not known, and the rule does not say trigger: unknown-ok")
	case r.FourEyes != Enforced && r.FourEyes != Waived:
		return errors.New("four_eyes is neither enforced nor waived")
	case r.FourEyes == Waived && r.Trigger != nil:
		return errors.New("four_eyes is waived although the trigger is known")
	}
	return nil
}
