// Package protocol is the contract between Sluice and a wire protocol.
//
// A plug-in turns frames into operations, asks the Guard about each, obeys the
// answer, and gives refusals in the client's own words. It knows no rule, no
// record format and no approval; Conn is all that it gets. Message protocols
// implement Conversation and are run by the pump, which has all of their I/O;
// protocols with an engine of their own implement Serve.
package protocol

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/trust"
)

// ErrStopped is the cause of the end of Serve's context when a person ordered
// the session to end. A plug-in tells its client so, where it can.
var ErrStopped = errors.New("the session was stopped")

// Info is what is constant about a protocol.
type Info struct {
	Name              string   // as written in configuration
	ServerSpeaksFirst bool     // the server greets before the client sends
	Ports             []uint16 // usual ports, for documentation
	Logins            Login    // what the agent can log in with
	HostKeys          bool     // its servers are known by SSH host keys: Conn.KnownHosts must be there
	Chooses           bool     // its clients say at their start what a resource may select them by: Conn.Choose
}

// Login is a set of things that the agent can log in to a server with.
type Login uint8

// What there is to log in with, as Credential has it.
const (
	PasswordLogin    Login = 1 << iota
	KeyLogin               // a bare key
	CertificateLogin       // a key with its certificate
	AuthorityLogin         // an authority for user certificates
	TokenLogin             // a bearer token (RFC 6750)
	HeaderLogin            // a token in a field of HTTP that the credential names
)

// Match is the answer of Recognize.
type Match int

// The answers of Recognize.
const (
	No       Match = iota // these bytes are not this protocol
	NeedMore              // they may be; more bytes will tell
	Yes                   // they are
)

// Protocol is one wire protocol.
type Protocol interface {
	Info() Info
	// Recognize looks at the first bytes that a client sent. It is pure and
	// never blocks.
	Recognize(prefix []byte) Match
	// Serve runs one session until a leg closes or ctx ends, and closes
	// neither leg before all that was decided is recorded. It returns nil at a
	// clean end, a *Violation when a peer broke the protocol, and any other
	// error for a fault of ours.
	Serve(ctx context.Context, conn *Conn) error
}

// Violation reports that a peer sent what the protocol does not allow.
type Violation struct {
	Leg    Leg
	Reason string // safe to log: never holds bytes from the wire
}

func (v *Violation) Error() string { return v.Leg.String() + " leg: " + v.Reason }

// Leg names one of the two connections of a session.
type Leg int

// The two legs.
const (
	ClientLeg Leg = iota
	ServerLeg
)

// String returns "client" or "server".
func (l Leg) String() string {
	if l == ServerLeg {
		return "server"
	}
	return "client"
}

// Credential is what the agent logs in to the server with. The job never sees
// it. What is empty is not configured.
type Credential struct {
	User        string
	Password    string
	Key         []byte // a private key, in PEM
	Certificate []byte // of Key: X.509 in PEM, or one line of OpenSSH's
	Authority   []byte // private key of an authority that signs user certificates, in PEM
	Token       string // a bearer token
	Header      string // the field of HTTP that Token stands in alone; empty: as a bearer token
}

// ServerTLS says how the server leg is secured.
type ServerTLS struct {
	Mode   TLSMode
	Config *tls.Config // roots and name to verify; nil when Mode is TLSOff
}

// TLSMode is how the server leg uses TLS.
type TLSMode int

// The modes of the server leg. The zero value verifies.
const (
	TLSVerifyFull TLSMode = iota // TLS, certificate and name verified
	TLSOff                       // plain text: a network that is trusted by configuration
)

// Conn is all that a plug-in gets of a session.
type Conn struct {
	Session    *session.Session
	Client     net.Conn                                    // replays peeked bytes
	Dial       func(ctx context.Context) (net.Conn, error) // flagged, to the session's destination
	ClientTLS  *tls.Config                                 // for a client that asks for TLS; nil: there is none
	TLS        ServerTLS
	KnownHosts []byte                          // the SSH servers' keys, as sshd(8) writes them; empty: none are known
	Names      []string                        // of the resource's hosts, which the client may have asked for
	HostKeys   func() ([]trust.HostKey, error) // to show an SSH client; nil: there are none
	// Protected tells whose a name or an address is, with a port: several
	// resources' where the client selects one, nobody's that can be served now
	// where there are none.
	Protected func(host string, port uint16) (resources []string, protected bool)
	// Inner serves a connection through the session's server until it ends, and
	// returns its session's id. An error that it returns before it accepts is an
	// Unserved; what went wrong later is logged and no error.
	Inner      func(ctx context.Context, in Inner) (session string, err error)
	Credential Credential
	Login      func(ctx context.Context) (Credential, error) // reads Credential anew, for a session that outlives it; nil: it does not change
	Guard      Guard
	Masks      *mask.Set     // never nil; may be empty
	MaskKey    []byte        // for mask.Hash, the same in all sessions; empty: the plug-in has one of its own
	SQLRules   bool          // a rule that reads op.sql could apply to this resource
	Observe    bool          // change nothing, refuse nothing; what cannot be read is relayed as an Unread
	Stopped    func() string // why a person stopped the session; "" while nobody has
	Log        *zap.Logger
	Loop       *Loop // that drives the session; nil: it gets one of its own
	// Choose returns the Conn of the resource that selects a client which begins
	// like that. nil: this is it. Else there is nothing here but Session, without
	// its resource, Client, ClientTLS, no Masks, Log and Loop. ClientTLS then shows
	// what is true of every resource that the name in the handshake leaves to
	// choose from, so that Choose must be told that name.
	Choose func(ctx context.Context, by Start) (*Conn, error)
	// Seal appends what is recorded in place of a value that must not be kept;
	// nil where values cannot be compared later.
	Seal func(dst, value []byte) []byte
}

// Start is what a client says as it begins.
type Start struct {
	ServerName     string // that it asked ClientTLS for; empty: none, or no TLS. The pump fills it in
	Database, User string
	Resource       string // the one that is meant; where it is not empty, the rest is
}

// Guard is all that a plug-in sees of policy. It is safe for concurrent use.
type Guard interface {
	// Begin opens the exchange of one operation. op may name its parent. The
	// guard sets op.ID.
	Begin(ctx context.Context, op *operation.Operation) (Exchange, error)
}

// Exchange is one operation's conversation with the guard: one Decide, or one
// DecideNow that answers, any number of Record, one Done or Finish, in this
// order. After an error of
// Decide, Record or Finish nothing more may be forwarded for this operation.
type Exchange interface {
	// Decide returns what is to be done, after the intent is durable. It may
	// block for as long as an approval takes; then waiting is called at once
	// and repeatedly, from this goroutine, until the answer is there. It ends
	// early with a deny when ctx ends. An error is a deny.
	Decide(ctx context.Context, waiting func(Waiting)) (Decision, error)
	// DecideNow is Decide where nothing has to be waited for, neither a person
	// nor the disk. Where something has it reports false, and Decide follows.
	DecideNow() (decision Decision, now bool, err error)
	// Record keeps a chunk of a stream that belongs to this operation, masked
	// as the client will see it. It must return nil before the chunk is
	// forwarded. The chunk is not kept after the call.
	Record(stream Stream, at time.Duration, chunk []byte) error
	// Digested is Record for a stream that the caller hashes itself, so that
	// nobody hashes it twice. What is not kept is recorded with what sum
	// returns, SoFar or Whole and a digest in hex. It may be called until the
	// exchange ends, and must not call the exchange. All of a stream is
	// recorded in one of both ways.
	Digested(stream Stream, at time.Duration, chunk []byte, sum func() string) error
	// Done ends the exchange, also when it was refused.
	Done(outcome Outcome) error
	// Finish is Record of the response's last chunk and Done in one, which
	// costs one record where they cost two. It must return nil before the
	// chunk is forwarded.
	Finish(at time.Duration, chunk []byte, outcome Outcome) error
}

// Effect is what to do with an operation. The zero value is Deny.
type Effect int

// The effects of a decision.
const (
	Deny Effect = iota
	Allow
)

// Decision is the guard's answer. The zero value denies.
type Decision struct {
	Effect   Effect
	Rule     string // the deciding rule's name; empty for the default
	Reason   string // for the person at the client; safe to show
	Approval uint64 // the approval's number, 0 when none was asked for
	Decider  string // who decided the approval
	TooLarge bool   // it is denied because its body, which operation.HTTP says is Streamed, would have to be held

	// Limit is how many rows the operation may change; nil: any number. It is
	// set for statements alone, and the plug-in must undo and refuse what
	// changes more, and refuse what it cannot count.
	Limit *RowLimit
}

// RowLimit is a rule that is decided once an operation has changed its rows.
type RowLimit struct {
	Rows   int64
	Rule   string
	Reason string // as that of a decision; may be empty
}

// Waiting says why nothing happens yet.
type Waiting struct {
	Approval uint64 // 0 while the collector has not yet numbered it
	Rule     string
	Reason   string
	Link     string // where a person can decide; may be empty
	Elapsed  time.Duration
	Deadline time.Time
}

// Stream names a direction of data inside an operation.
type Stream string

// What the digests of Exchange.Digested begin with.
const (
	SoFar = "so-far:" // of the stream up to the end of the bytes that it stands for
	Whole = "whole:"  // of the whole stream, of which the rest may not follow
)

// The streams.
const (
	Request  Stream = "request"  // from the client, after the operation itself
	Response Stream = "response" // to the client
	Input    Stream = "stdin"    // from the client to a program or a file: of no known size, so kept as Response is
	Errors   Stream = "stderr"   // to the client, beside Response
	Objects  Stream = "objects"  // what a pack holds, a line of text each: kept whole
	Size     Stream = "size"     // of the client's terminal, as "80x24", whenever it is another one
)

// Status is how an operation ended.
type Status string

// The ways in which an operation ends.
const (
	OK        Status = "ok"
	Failed    Status = "failed"    // the server said so
	Refused   Status = "refused"   // we did not forward it, or hid its result
	Abandoned Status = "abandoned" // a leg closed first
)

// Outcome is the end of an operation.
type Outcome struct {
	Status Status
	Code   string // the protocol's own code, e.g. an SQLSTATE
	Tag    string // the protocol's own summary, e.g. a command tag
	Rows   int64  // sent to the client
	Masked int64  // values that were masked
	Rule   string // what refused it after the decision: "" or the mask's name
}
