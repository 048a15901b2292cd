// Package translog is the transparency log: what the collector appends signed
// batch notes to, what it proves to agents, and what anybody can verify
// offline with pinned keys.
//
// The log is RFC 6962's tree over the exact bytes of signed notes, with
// checkpoints as C2SP tlog-checkpoint and signatures as C2SP signed-note. The
// package promises that nothing is accepted on the word of what is verified:
// keys come from the caller, never from a note, receipt or bundle. It stores
// nothing; the collector's store gives it hashes inside its own transaction.
package translog

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sluicegate/sluice/pkg/record"
)

// Hash is a node of the log's tree.
type Hash = tlog.Hash

// GenerateKey returns a new Ed25519 key for name, in the text form of
// x/mod/sumdb/note: a private signer key and a public verifier key. The name
// of an agent's key is AgentKeyName; the name of the log's key is its origin.
func GenerateKey(name string) (skey, vkey string, err error) {
	skey, vkey, err = note.GenerateKey(rand.Reader, name)
	if err != nil {
		return "", "", fmt.Errorf("generate note key: %w", err)
	}
	return skey, vkey, nil
}

// AgentKeyName returns the name that an agent's key must have. It is also the
// second line of that agent's batch notes, which binds the one to the other.
func AgentKeyName(cluster, agent string) string { return cluster + "/" + agent }

// Signer signs batch notes or checkpoints with one key.
type Signer struct {
	signer note.Signer
}

// NewSigner reads a signer key as GenerateKey writes it. Its errors do not
// quote the key.
func NewSigner(skey string) (*Signer, error) {
	s, err := note.NewSigner(strings.TrimSpace(skey))
	if err != nil {
		return nil, errors.New("read signer key: not a note signer key")
	}
	return &Signer{signer: s}, nil
}

// Name returns the name of the key.
func (s *Signer) Name() string { return s.signer.Name() }

func (s *Signer) sign(text []byte) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: string(text)}, s.signer)
	if err != nil {
		return nil, fmt.Errorf("sign note: %w", err)
	}
	return signed, nil
}

// Verifier verifies what one key signed, or one of several keys of one name.
type Verifier struct {
	name string
	list note.Verifiers
}

// NewVerifier reads a verifier key as GenerateKey writes it, and more keys of
// the same name whose signatures are as good, such as those of an agent that
// changes its key.
func NewVerifier(vkey string, more ...string) (*Verifier, error) {
	var all []note.Verifier
	for _, text := range append([]string{vkey}, more...) {
		v, err := note.NewVerifier(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("read verifier key: %w", err)
		}
		if len(all) > 0 && v.Name() != all[0].Name() {
			return nil, errors.New("read verifier key: keys of two names")
		}
		all = append(all, v)
	}
	return &Verifier{name: all[0].Name(), list: note.VerifierList(all...)}, nil
}

// Name returns the name of the key.
func (v *Verifier) Name() string { return v.name }

// ErrSignature reports a note without a valid signature of the expected key,
// or with anything beside it.
var ErrSignature = errors.New("the note is not signed by the expected key, alone")

// errForeignKey is ErrSignature of a note that another key signed.
var errForeignKey = fmt.Errorf("%w: another key signed it", ErrSignature)

// open returns the text of a note that carries one signature, the key's, and
// nothing else. note.Open ignores signatures of unknown keys and reads base64
// loosely; here the signed bytes are hashed, so whoever could add a line or a
// bit could make a second note out of one.
func (v *Verifier) open(signed []byte) ([]byte, error) {
	n, err := note.Open(signed, v.list)
	var unverified *note.UnverifiedNoteError
	if errors.As(err, &unverified) && len(unverified.Note.UnverifiedSigs) == 1 && len(unverified.Note.Sigs) == 0 {
		return nil, errForeignKey
	}
	if err != nil || len(n.Sigs) != 1 || len(n.UnverifiedSigs) != 0 {
		return nil, ErrSignature
	}
	raw, err := base64.StdEncoding.DecodeString(n.Sigs[0].Base64)
	if err != nil {
		return nil, ErrSignature
	}
	line := "\n— " + n.Sigs[0].Name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
	if n.Text+line != string(signed) {
		return nil, ErrSignature
	}
	return []byte(n.Text), nil
}

// SignBatch returns the signed note of b: the bytes that are sent, hashed and
// kept. The signer's name must be the agent's.
func SignBatch(b *record.Batch, s *Signer) ([]byte, error) {
	if s.Name() != AgentKeyName(b.Cluster, b.Agent) {
		return nil, fmt.Errorf("sign batch: the key is %s's", s.Name())
	}
	text := b.Text()
	if _, err := record.ParseBatch(text); err != nil {
		return nil, fmt.Errorf("sign batch: %w", err)
	}
	return s.sign(text)
}

// OpenBatch verifies a signed batch note and returns its batch. The note must
// be of the agent that the key is named for.
func OpenBatch(signed []byte, v *Verifier) (record.Batch, error) {
	if len(signed) > record.MaxNote {
		return record.Batch{}, fmt.Errorf("open batch note: %d bytes is over the limit of %d", len(signed), record.MaxNote)
	}
	text, err := v.open(signed)
	if err != nil {
		return record.Batch{}, fmt.Errorf("open batch note: %w", err)
	}
	b, err := record.ParseBatch(text)
	if err != nil {
		return record.Batch{}, fmt.Errorf("open batch note: %w", err)
	}
	if v.Name() != AgentKeyName(b.Cluster, b.Agent) {
		return record.Batch{}, errors.New("open batch note: it speaks for another agent than its key")
	}
	return b, nil
}

// PeekBatch reads a signed batch note without verifying anything, to learn
// whose key to verify it with.
func PeekBatch(signed []byte) (record.Batch, error) {
	text, _, ok := strings.Cut(string(signed), "\n\n")
	if len(signed) > record.MaxNote || !ok {
		return record.Batch{}, errors.New("read batch note: not a signed note")
	}
	return record.ParseBatch([]byte(text + "\n"))
}

// LeafHash returns the leaf of a signed note in the log's tree.
func LeafHash(signed []byte) Hash { return tlog.RecordHash(signed) }

// Checkpoint is the head of the log's tree. The zero value is the empty log
// of nobody.
type Checkpoint struct {
	Origin string // the log's name, which is also its key's
	Size   int64
	Root   Hash
}

// text returns the checkpoint's note text: origin, size and root, one a line
// (C2SP tlog-checkpoint).
func (c Checkpoint) text() []byte {
	return fmt.Appendf(nil, "%s\n%d\n%s\n", c.Origin, c.Size, c.Root)
}

// SignCheckpoint returns the signed checkpoint of the log that s is the key of.
func SignCheckpoint(size int64, root Hash, s *Signer) ([]byte, error) {
	if size < 0 {
		return nil, errors.New("sign checkpoint: negative size")
	}
	return s.sign(Checkpoint{Origin: s.Name(), Size: size, Root: root}.text())
}

// OpenCheckpoint verifies a signed checkpoint of the log that v is the key of.
func OpenCheckpoint(signed []byte, v *Verifier) (Checkpoint, error) {
	text, err := v.open(signed)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("open checkpoint: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) != 4 || lines[0] != v.Name() {
		return Checkpoint{}, errors.New("open checkpoint: not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return Checkpoint{}, errors.New("open checkpoint: bad size")
	}
	root, err := record.ParseHash(lines[2])
	if err != nil {
		return Checkpoint{}, errors.New("open checkpoint: bad root")
	}
	c := Checkpoint{Origin: lines[0], Size: size, Root: Hash(root)}
	if string(c.text()) != string(text) {
		return Checkpoint{}, errors.New("open checkpoint: not in its one form")
	}
	return c, nil
}
