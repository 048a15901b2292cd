package translog

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// cosigner is the type of a key that makes timestamped Ed25519 cosignatures
// (C2SP tlog-cosignature, "cosignature/v1").
const cosigner = 0x04

// Witness verifies the cosignatures of one witness.
type Witness struct {
	name string
	id   uint32
	key  ed25519.PublicKey
}

// NewWitness reads a witness's verifier key: <name>+<id>+<base64 of 0x04 and
// the key>.
func NewWitness(vkey string) (*Witness, error) {
	name, rest, _ := strings.Cut(strings.TrimSpace(vkey), "+")
	id, encoded, _ := strings.Cut(rest, "+")
	raw, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != 1+ed25519.PublicKeySize || raw[0] != cosigner || name == "" || strings.ContainsAny(name, " \t\r\n") {
		return nil, errors.New("read witness key: not the key of a cosignature/v1")
	}
	sum := sha256.Sum256(append([]byte(name+"\n"), raw...))
	w := &Witness{name: name, id: binary.BigEndian.Uint32(sum[:]), key: raw[1:]}
	if id != fmt.Sprintf("%08x", w.id) {
		return nil, errors.New("read witness key: its id is not the key's")
	}
	return w, nil
}

// Name returns the name of the witness.
func (w *Witness) Name() string { return w.name }

// KeyHash implements note.Verifier.
func (w *Witness) KeyHash() uint32 { return w.id }

// Verify implements note.Verifier: eight bytes of time, big endian, and the
// signature of it and of the checkpoint.
func (w *Witness) Verify(text, cosignature []byte) bool {
	if len(cosignature) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Appendf(nil, "cosignature/v1\ntime %d\n", binary.BigEndian.Uint64(cosignature))
	return ed25519.Verify(w.key, append(signed, text...), cosignature[8:])
}

// Cosignature says that a witness saw a checkpoint, and no other of its size.
type Cosignature struct {
	Witness string    `json:"witness"`
	At      time.Time `json:"at"`
}

// OpenCosigned verifies a checkpoint that carries the log's signature and those
// of witnesses, in any number. What others signed is not looked at; what a
// witness of the list signed wrongly is an error.
func OpenCosigned(signed []byte, log *Verifier, witnesses []*Witness) (Checkpoint, []Cosignature, error) {
	own, err := logOnly(signed, log.Name())
	if err != nil {
		return Checkpoint{}, nil, err
	}
	head, err := OpenCheckpoint(own, log)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	if len(witnesses) == 0 {
		return head, nil, nil
	}
	list := make([]note.Verifier, len(witnesses))
	for i, w := range witnesses {
		list[i] = w
	}
	opened, err := note.Open(signed, note.VerifierList(list...))
	var none *note.UnverifiedNoteError
	if errors.As(err, &none) {
		return head, nil, nil
	}
	if err != nil {
		return Checkpoint{}, nil, fmt.Errorf("open cosigned checkpoint: %w", err)
	}
	var seen []Cosignature
	for _, s := range opened.Sigs {
		raw, err := base64.StdEncoding.DecodeString(s.Base64)
		if err != nil || len(raw) < 12 {
			return Checkpoint{}, nil, errors.New("open cosigned checkpoint: a cosignature is cut short")
		}
		line := "\n— " + s.Name + " " + base64.StdEncoding.EncodeToString(raw) + "\n"
		if !bytes.Contains(signed, []byte(line)) { // note reads base64 loosely
			return Checkpoint{}, nil, errors.New("open cosigned checkpoint: a cosignature is not in its one form")
		}
		at := time.Unix(int64(binary.BigEndian.Uint64(raw[4:])&^(1<<63)), 0).UTC() // behind the key's id
		seen = append(seen, Cosignature{Witness: s.Name, At: at})
	}
	return head, seen, nil
}

// logOnly returns a signed note with the one signature line that is the log's.
func logOnly(signed []byte, name string) ([]byte, error) {
	text, lines, ok := bytes.Cut(signed, []byte("\n\n"))
	if !ok {
		return nil, errors.New("open cosigned checkpoint: not a signed note")
	}
	prefix := []byte("— " + name + " ")
	for line := range bytes.Lines(lines) {
		if bytes.HasPrefix(line, prefix) {
			return append(append(bytes.Clone(text), "\n\n"...), line...), nil
		}
	}
	return nil, fmt.Errorf("open cosigned checkpoint: %w", ErrSignature)
}

// AddCosignature appends the signature lines of a witness's answer to a signed
// checkpoint, if one of them is the witness's and holds.
func AddCosignature(signed, lines []byte, log *Verifier, w *Witness) ([]byte, error) {
	for line := range bytes.Lines(lines) {
		if !bytes.HasPrefix(line, []byte("— "+w.name+" ")) || !bytes.HasSuffix(line, []byte("\n")) {
			continue
		}
		with := append(bytes.Clone(signed), line...)
		if _, seen, err := OpenCosigned(with, log, []*Witness{w}); err == nil && len(seen) == 1 {
			return with, nil
		}
	}
	return nil, errors.New("the answer holds no cosignature of the witness's key")
}

// AddCheckpoint returns what a witness is asked with (C2SP tlog-witness): the
// size that it has seen, the proof from there, and the checkpoint.
func AddCheckpoint(old int64, proof []Hash, checkpoint []byte) []byte {
	body := append([]byte("old "), strconv.FormatInt(old, 10)...)
	body = append(body, '\n')
	body = append(body, encodeProof(proof)...)
	body = append(body, '\n')
	return append(body, checkpoint...)
}

// encodeProof writes a hash a line.
func encodeProof(proof []Hash) []byte {
	var lines []byte
	for _, h := range proof {
		lines = append(append(lines, h.String()...), '\n')
	}
	return lines
}

// extended reports why head does not contain old.
func extended(old, head Checkpoint, proof []Hash) error {
	switch {
	case old.Size > head.Size:
		return fmt.Errorf("it has %d leaves, and the log %d", old.Size, head.Size)
	case old.Size == 0:
		return nil
	case old.Size == head.Size:
		if old.Root != head.Root {
			return errors.New("it has another root of as many leaves")
		}
		return nil
	}
	return tlog.CheckTree(proof, head.Size, head.Root, old.Size, old.Root)
}
