package agent

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
)

const (
	// maxPreapprovals bounds the files that are kept. A new one replaces none.
	maxPreapprovals = 64
	// maxPreapproval bounds one of them, in bytes.
	maxPreapproval = 64 << 10
)

// Preapprovals are the signed files of reviewed statements in a directory. The
// collector brings them, and so can the owner of the node. What a file says is
// believed by nobody here: the desk asks the roster each time. It is safe for
// concurrent use.
type Preapprovals struct {
	dir     string
	cluster string
	roster  func() *approval.Roster
	lifted  func(id string) bool
	log     *zap.Logger

	mu sync.Mutex // of who writes
}

// NewPreapprovals returns those of a directory, which need not be there. lifted
// reports whether a person took one back.
func NewPreapprovals(dir, cluster string, roster func() *approval.Roster, lifted func(id string) bool, log *zap.Logger) *Preapprovals {
	return &Preapprovals{dir: dir, cluster: cluster, roster: roster, lifted: lifted, log: log}
}

// Deliver keeps a pre-approval that the collector brings. What nobody of the
// roster signed is not kept.
func (p *Preapprovals) Deliver(signed []byte) {
	now := time.Now()
	opened, err := approval.OpenPreapproval(signed, p.roster(), p.cluster, now)
	if err != nil {
		p.log.Warn("A pre-approval is not believed", zap.Error(err))
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	path := filepath.Join(p.dir, opened.ID)
	if _, err := os.Stat(path); err == nil {
		return // it comes again with each sync
	}
	if p.forget(now) >= maxPreapprovals {
		p.log.Error("There are too many pre-approvals: one more is not kept", zap.String("preapproval", opened.ID))
		return
	}
	err = os.MkdirAll(p.dir, 0o700)
	if err == nil {
		err = replaceFile(path, signed)
	}
	if err != nil {
		p.log.Error("A pre-approval could not be kept", zap.String("preapproval", opened.ID), zap.Error(err))
		return
	}
	p.log.Info("Statements are approved beforehand", zap.String("preapproval", opened.ID), zap.String("rule", opened.Rule), zap.String("by", opened.By))
}

// forget removes what the collector brought and has expired, and returns how
// many files are left. The caller holds mu.
func (p *Preapprovals) forget(now time.Time) (left int) {
	entries, _ := os.ReadDir(p.dir) // none are there yet
	for _, entry := range entries {
		path := filepath.Join(p.dir, entry.Name())
		signed, err := readBounded(path)
		id, ok := approval.PreapprovalID(signed)
		if err != nil || !ok || id != entry.Name() {
			left++ // the owner's
			continue
		}
		if _, err := approval.OpenPreapproval(signed, p.roster(), p.cluster, now); errors.Is(err, approval.ErrVoteTime) && os.Remove(path) == nil {
			continue
		}
		left++
	}
	return left
}

// All returns the signed files, but for those that were taken back.
func (p *Preapprovals) All() (all [][]byte) {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			p.log.Error("The pre-approvals cannot be read", zap.Error(err))
		}
		return nil
	}
	for _, entry := range entries[:min(len(entries), maxPreapprovals)] {
		signed, err := readBounded(filepath.Join(p.dir, entry.Name()))
		if err != nil {
			p.log.Error("A pre-approval cannot be read", zap.Error(err))
			continue
		}
		if id, ok := approval.PreapprovalID(signed); ok && !p.lifted(id) {
			all = append(all, signed)
		}
	}
	return all
}

func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(file, maxPreapproval))
}
