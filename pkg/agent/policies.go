package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/policy"
)

// PoliciesConfig says where a node's policies come from and whom they are told
// to. All fields are required.
type PoliciesConfig struct {
	Own            *policy.Policy // of the node's file
	Name           string         // of that file; a published policy's paths are relative to it too
	Cluster, Agent string
	Pin            string                     // file that keeps what was published, for the next start
	Roster         func() *approval.Roster    // nil while there is none
	Check          func(*policy.Policy) error // whether this agent can serve it now
	// Changed records that another policy is in force, before it is; without a
	// record it is not put in force.
	Changed func(hash string, signed []byte) error
	// Refused records that a published policy is not put in force.
	Refused func(detail string)
	Log     *zap.Logger
}

// Policies is the policy in force: that of the node's file, until a publisher
// of the roster puts another in its place. A published one changes rules, masks
// and the default; what is protected, and with what the agent logs in, stays
// as the file says, because the privileged half reads no other. What cannot be
// put in force changes nothing. It is safe for concurrent use.
type Policies struct {
	cfg     PoliciesConfig
	current atomic.Pointer[policy.Policy]
	refused atomic.Uint64 // how often

	mu       sync.Mutex
	sequence uint64              // of the publication in force; 0: none was ever. Guarded by mu
	pinned   []byte              // that publication; guarded by mu
	failed   uint64              // of the last that was refused; guarded by mu
	doubted  bool                // something came that nobody may publish; guarded by mu
	open     map[*Following]bool // guarded by mu
}

// OpenPolicies returns the policy that was in force before the restart. What
// was published and cannot be in force any more, because the file's resources
// or the roster's publishers are others, is refused as a new one would be: then
// the node's file holds, and everybody is told.
func OpenPolicies(cfg PoliciesConfig) (*Policies, error) {
	p := &Policies{cfg: cfg, open: map[*Following]bool{}}
	p.current.Store(cfg.Own)
	pinned, err := os.ReadFile(cfg.Pin)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the published policy: %w", err)
	}
	published, signed, then, err := p.read(pinned, time.Now())
	if err != nil {
		p.refuse(published.Sequence, fmt.Errorf("what was in force is no longer, and the file of this node is: %w", err))
		return p, nil
	}
	if err := cfg.Changed(then.Hash(), signed); err != nil {
		return nil, fmt.Errorf("record the policy in force: %w", err)
	}
	p.sequence, p.pinned = published.Sequence, pinned
	p.current.Store(then)
	return p, nil
}

// Current returns the policy in force.
func (p *Policies) Current() *policy.Policy { return p.current.Load() }

// Sequence returns that of the newest publication that was put in force, 0
// without one.
func (p *Policies) Sequence() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sequence
}

// Refused is how often a published policy was not put in force.
func (p *Policies) Refused() uint64 { return p.refused.Load() }

// Deliver hands in a publication, and returns when it is in force for the next
// operation. What is known, older, or for others changes nothing.
func (p *Policies) Deliver(encoded []byte) {
	published, signed, next, err := p.read(encoded, time.Now())
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case published.Sequence != 0 && published.Sequence == p.sequence:
		return
	case err == nil && published.Sequence < p.sequence:
		err = errors.New("it is older than the one in force")
	}
	if err == nil {
		err = p.replace(published, signed, encoded, next)
	}
	switch {
	case err == nil:
	case published.Sequence == 0 && p.doubted, published.Sequence != 0 && published.Sequence == p.failed:
		p.refused.Add(1) // it is known: whoever has the bus cannot fill the trail
	default:
		p.failed, p.doubted = published.Sequence, p.doubted || published.Sequence == 0
		p.refuse(published.Sequence, err)
	}
}

// read verifies a publication and compiles its policy. The sequence is set as
// soon as the signature is good, also with an error.
func (p *Policies) read(encoded []byte, now time.Time) (approval.Publication, []byte, *policy.Policy, error) {
	published, with, err := approval.OpenPublished(encoded, p.cfg.Roster(), p.cfg.Cluster, now)
	if err != nil {
		return approval.Publication{}, nil, nil, err
	}
	if !published.For(p.cfg.Agent) {
		return published, nil, nil, errors.New("it is for other agents")
	}
	if published.SHA256 == "" {
		return published, with.Signed, p.cfg.Own, nil
	}
	next, err := policy.Parse(p.cfg.Name, with.Text)
	if err == nil {
		err = p.cfg.Own.SameResources(next)
	}
	if err == nil {
		err = p.cfg.Check(next)
	}
	return published, with.Signed, next, err
}

// replace puts a policy in force: pinned and recorded first, so that no
// operation is decided by what a restart would forget. The caller holds mu.
func (p *Policies) replace(published approval.Publication, signed, encoded []byte, next *policy.Policy) error {
	if err := replaceFile(p.cfg.Pin, encoded); err != nil {
		return fmt.Errorf("pin the policy: %w", err)
	}
	if err := p.cfg.Changed(next.Hash(), signed); err != nil {
		return errors.Join(fmt.Errorf("record the change of policy: %w", err), p.unpin())
	}
	p.sequence, p.pinned = published.Sequence, encoded
	ended := 0
	for f := range p.open {
		if !f.changed.Load() && !f.began.SameAnswers(next, f.resource) {
			f.changed.Store(true) // before the policy: see Following.Policy
			f.end()
			ended++
		}
	}
	p.current.Store(next)
	p.cfg.Log.Warn("A published policy is in force", zap.String("sha256", next.Hash()), zap.String("by", published.By),
		zap.Uint64("sequence", published.Sequence), zap.Int("sessions_ended", ended))
	return nil
}

// refuse tells everybody that a published policy is not in force.
func (p *Policies) refuse(sequence uint64, err error) {
	p.refused.Add(1)
	p.cfg.Log.Error("A published policy is not put in force", zap.Uint64("sequence", sequence), zap.Error(err))
	p.cfg.Refused(fmt.Sprintf("publication %d: %v", sequence, err))
}

// unpin brings the pin back to what is in force. The caller holds mu.
func (p *Policies) unpin() error {
	if p.pinned == nil {
		return os.Remove(p.cfg.Pin)
	}
	return replaceFile(p.cfg.Pin, p.pinned)
}
