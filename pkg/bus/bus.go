// Package bus carries signed batches, receipts, approval requests and
// decisions between agents and the collector, over NATS.
//
// The bus is a buffer that nobody trusts. It may lose, repeat, delay, reorder
// and forge; everything that it carries is signed end to end, and an agent
// keeps a batch until it holds a receipt for it. What the package promises is
// narrower: every subject is built in subjects.go, nothing waits in memory for
// a server that is away, and a refusal by the server comes back as an error
// and never as a time-out alone. It signs, verifies and stores nothing.
package bus

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// maxMessage is the most that one message of a stream may have, in bytes.
const maxMessage = 512 << 10

// ErrRefused reports that the server does not allow what was tried: a
// credential that was issued wrongly, or somebody else's subject.
var ErrRefused = errors.New("the bus refuses it")

// SyncReply is the collector's answer to an agent that asks where it stands.
// Approvals and orders that are too many for one message come by themselves.
type SyncReply struct {
	Receipt   json.RawMessage `json:"receipt"`   // as SendReceipt sends it
	Approvals []Decision      `json:"approvals"` // of this agent, still open or just decided
	Orders    [][]byte        `json:"orders"`    // signed, all that are in force
	Policy    json.RawMessage `json:"policy"`    // the newest that was published for this agent; nil: it has that, or there is none
}

// Decision is a message of the collector about one approval.
type Decision struct {
	ID      string          `json:"id"`
	Message json.RawMessage `json:"message"`
}

// messageID names a batch to the stream. The stream drops a second message
// with an id that it has seen, whoever sent it, so the id must be one that
// nobody can know before the batch is published: the hash of the signed note.
func messageID(note []byte) string {
	sum := sha256.Sum256(note)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// appendBatch appends a batch as a message carries it: the note's length in
// four bytes, big endian, the note, the payload.
func appendBatch(dst, note, payload []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(note)))
	dst = append(dst, note...)
	return append(dst, payload...)
}

// cutBatch reads what appendBatch wrote. Note and payload share data's memory.
func cutBatch(data []byte) (note, payload []byte, err error) {
	if len(data) < 4 {
		return nil, nil, errors.New("cut batch: too short")
	}
	n := uint64(binary.BigEndian.Uint32(data))
	data = data[4:]
	if n > uint64(len(data)) {
		return nil, nil, errors.New("cut batch: the note is longer than the message")
	}
	return data[:n:n], data[n:], nil
}

// Security is how a connection is authenticated. Seed is the user's nkey seed
// (nil for a server in this process that asks for none), Credentials a file
// with a user's JWT and seed instead; TLS may be nil only on a network that is
// trusted by configuration.
type Security struct {
	Seed        []byte
	Credentials string
	TLS         *tls.Config
}

func (s Security) options() ([]nats.Option, error) {
	var options []nats.Option
	if s.TLS != nil {
		options = append(options, nats.Secure(s.TLS))
	}
	if s.Credentials != "" {
		return append(options, nats.UserCredentials(s.Credentials)), nil
	}
	if len(s.Seed) == 0 {
		return options, nil
	}
	pair, err := nkeys.FromSeed(s.Seed)
	if err != nil {
		return nil, errors.New("read nkey seed: not a seed")
	}
	user, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("read nkey seed: %w", err)
	}
	return append(options, nats.Nkey(user, pair.Sign)), nil
}

// commonOptions never give up and never buffer: what cannot be sent now is an
// error now, and its owner keeps it.
func commonOptions() []nats.Option {
	return []nats.Option{
		nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(), // a credential may be registered after the first attempt
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(100*time.Millisecond, 500*time.Millisecond),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
	}
}

// NewUser returns a fresh nkey user: the seed that its owner keeps and the
// public key that the server knows it by.
func NewUser() (seed []byte, public string, err error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, "", fmt.Errorf("create nkey user: %w", err)
	}
	if seed, err = pair.Seed(); err != nil { // it shares the pair's memory, so the pair is not wiped
		return nil, "", fmt.Errorf("create nkey user: %w", err)
	}
	if public, err = pair.PublicKey(); err != nil {
		return nil, "", fmt.Errorf("create nkey user: %w", err)
	}
	return seed, public, nil
}
