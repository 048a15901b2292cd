// Package record is the audit record: its schema, its exact bytes and how
// they are hashed. The agent, the collector and every verifier share it.
//
// A record has a header and a body. The header says who, when and what kind,
// and is always kept. The body holds what a peer wrote: statement text,
// parameters, rows. Each is serialised once, by the agent; those bytes are
// hashed, signed, stored and exported, and nobody serialises a record again.
// Header and body are committed to separately, each under a salt of its own,
// so that a body can be destroyed later and the rest still verifies.
package record

import (
	"encoding/json"
	"time"

	"github.com/sluicegate/sluice/pkg/session"
)

// Schema names the version of the header and body encoding. It stands in no
// record: the title of the batch note that signs them has the same version.
const Schema = "sluice.record/2"

// Type says what a record reports.
type Type string

// The types of record.
const (
	AgentStarted      Type = "agent.started"      // a new epoch begins, or another process carries one on
	AgentAlert        Type = "agent.alert"        // interception saw something that must not happen
	AgentOrder        Type = "agent.order"        // a person's signed order that the agent obeys
	AgentPolicy       Type = "agent.policy"       // a publisher's signed policy is in force from here
	SessionOpened     Type = "session.opened"     // identity and resource are known
	SessionClosed     Type = "session.closed"     // with its counts
	OperationIntent   Type = "operation.intent"   // durable before anything is forwarded
	OperationChunk    Type = "operation.chunk"    // a piece of a stream, before it is forwarded
	OperationOutcome  Type = "operation.outcome"  // how it ended
	ApprovalRequested Type = "approval.requested" // a person is asked
	ApprovalVoted     Type = "approval.voted"     // a vote that the agent verified
	ApprovalSettled   Type = "approval.settled"   // approved, denied, expired, withdrawn or abandoned
	PersonActed       Type = "person.acted"       // somebody saw or did something at the collector
)

// Header is the part of a record that is always kept. Exactly one of the
// pointers is set, the one that Type names.
type Header struct {
	No        uint64    `json:"no"` // per agent and epoch, from 0, without gaps
	Type      Type      `json:"type"`
	Time      time.Time `json:"time"`                // wall clock, UTC
	Mono      int64     `json:"mono_ns"`             // since the epoch began
	Session   string    `json:"session,omitempty"`   // session id
	Operation uint64    `json:"operation,omitempty"` // within the session
	Parent    uint64    `json:"parent,omitempty"`

	Agent    *Agent           `json:"agent,omitempty"`
	Alert    *Alert           `json:"alert,omitempty"`
	Order    *Order           `json:"order,omitempty"`
	Opened   *session.Session `json:"opened,omitempty"`
	Closed   *Closed          `json:"closed,omitempty"`
	Intent   *Intent          `json:"intent,omitempty"`
	Chunk    *Chunk           `json:"chunk,omitempty"`
	Outcome  *Outcome         `json:"outcome,omitempty"`
	Approval *Approval        `json:"approval,omitempty"`
	Person   *Person          `json:"person,omitempty"`
}

// Body is the part of a record that holds what a peer wrote. It may be empty.
type Body struct {
	Text   string          `json:"text,omitempty"`   // the request, when it is valid UTF-8
	Bytes  []byte          `json:"bytes,omitempty"`  // the request or chunk, when it is not
	Params []Param         `json:"params,omitempty"` // bound values
	More   bool            `json:"more,omitempty"`   // a chunk record continues this request
	Extra  json.RawMessage `json:"extra,omitempty"`  // the signed approval request, vote or order, verbatim
}

// Param is one bound value: a text, bytes, NULL, or a keyed hash and length
// where the value must not be kept.
type Param struct {
	Text   *string `json:"text,omitempty"`
	Bytes  []byte  `json:"bytes,omitempty"`
	Null   bool    `json:"null,omitempty"`
	Sealed string  `json:"sealed,omitempty"` // "hmac-sha256:<hex>"
	Length int     `json:"length,omitempty"` // of a sealed value
}

// Agent says which program writes this chain.
type Agent struct {
	Version string `json:"version"`
	Host    string `json:"host"`
	Policy  string `json:"policy"` // hex SHA-256 of the policy file
}

// Person is what somebody did at the collector. What it was about, a session, a
// number or the words of a search, is the body's text.
type Person struct {
	Act     string `json:"act"` // "login", "session.read", "search", "export", "approval.read", "vote", …
	Name    string `json:"name"`
	Issuer  string `json:"issuer,omitempty"` // of the login; empty for the bootstrap token
	Subject string `json:"subject,omitempty"`
	From    string `json:"from,omitempty"` // network address
}

// Alert is something that interception saw and stopped.
type Alert struct {
	Kind        string `json:"kind"` // "backstop-drop", "no-record", "unknown-netns", …
	Destination string `json:"destination,omitempty"`
	Count       uint64 `json:"count"`
	Detail      string `json:"detail,omitempty"`
}

// Order is what a person ordered the agent to stop, or to let go on. The signed
// bytes are in the body's Extra.
type Order struct {
	ID        string `json:"id"`   // 128 random bits, hex
	Kind      string `json:"kind"` // "kill", "quarantine" or "release"
	Session   string `json:"session,omitempty"`
	Container string `json:"container,omitempty"`
	Run       string `json:"run,omitempty"`
	Lifts     string `json:"lifts,omitempty"` // the quarantine that a release lifts
	By        string `json:"by"`
	Reason    string `json:"reason,omitempty"`
}

// Closed ends a session. The counts let a verifier notice a missing record.
type Closed struct {
	Records    uint64 `json:"records"` // of this session, this one included
	Operations uint64 `json:"operations"`
	Denied     uint64 `json:"denied"`
	Held       uint64 `json:"held"`
	Masked     uint64 `json:"masked"` // values
	Reason     string `json:"reason"` // "client", "server", "agent", "violation: …"
}

// Intent is an operation and what was decided about it, before it is
// forwarded.
type Intent struct {
	Kind       string      `json:"kind"`
	Parsed     bool        `json:"parsed"`
	ReadOnly   bool        `json:"read_only"`
	Statements []Statement `json:"statements,omitempty"`
	SSH        *SSH        `json:"ssh,omitempty"`
	Git        *Git        `json:"git,omitempty"`
	Kube       *Kube       `json:"kube,omitempty"`
	HTTP       *HTTP       `json:"http,omitempty"`
	Database   string      `json:"database,omitempty"`
	Role       string      `json:"role,omitempty"`
	Effect     string      `json:"effect"` // "allow" or "deny"; where it is only observed also "hold"
	Rule       string      `json:"rule,omitempty"`
	Reason     string      `json:"reason,omitempty"`
	Policy     string      `json:"policy"` // hex SHA-256 of the policy file
	Approval   uint64      `json:"approval,omitempty"`
	Decider    string      `json:"decider,omitempty"`
	Observed   bool        `json:"observed,omitempty"` // mode observe: the effect was not enforced
}

// Statement is one statement of an SQL operation.
type Statement struct {
	Kind      string   `json:"kind"`
	Class     string   `json:"class"`
	Relations []string `json:"relations,omitempty"`
}

// SSH is what is asked of a host. The command line is in the body.
type SSH struct {
	Type     string   `json:"type"` // "exec", "shell", "subsystem", "sftp", "forward" or "listen"
	Programs []string `json:"programs,omitempty"`
	Action   string   `json:"action,omitempty"`
	Path     string   `json:"path,omitempty"`
	NewPath  string   `json:"new_path,omitempty"`
	// Resources are those that a forward leads to.
	Resources []string `json:"resources,omitempty"`
}

// Git is what is asked of a repository.
type Git struct {
	Repository string   `json:"repository"`
	Refs       []GitRef `json:"refs,omitempty"`
	Options    []string `json:"options,omitempty"`
}

// GitRef is one ref that a push would change. Ids are in hexadecimal.
type GitRef struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"` // "create", "update" or "delete"
	Old    string   `json:"old,omitempty"`
	New    string   `json:"new,omitempty"`
	Forced string   `json:"forced"`         // "true", "false" or "unknown"
	Lost   []string `json:"lost,omitempty"` // commits that the ref would lose, newest first
}

// Kube is what is asked of a Kubernetes API server, as operation.Kube has it. A
// command line is in the body, in the query of its request.
type Kube struct {
	Verb        string `json:"verb"`
	Group       string `json:"group,omitempty"`
	Version     string `json:"version,omitempty"`
	Resource    string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
	Container   string `json:"container,omitempty"`
	DryRun      bool   `json:"dry_run,omitempty"`
	Port        uint16 `json:"port,omitempty"` // of one connection of a port-forward
}

// HTTP is a request. Its query and its body are in the record's body.
type HTTP struct {
	Method string `json:"method"`
	Host   string `json:"host,omitempty"`
	Path   string `json:"path"`

	// Streamed is a request with a body that was not read before it was decided,
	// and stands in chunks. Form is one that may name another method.
	Streamed bool `json:"streamed,omitempty"`
	Form     bool `json:"form,omitempty"`
}

// Chunk is a piece of a stream. The bytes are in the body, up to the
// response limit; beyond it only the digest and the size are kept.
type Chunk struct {
	Stream string `json:"stream"`
	At     int64  `json:"at_ns"`            // since the operation began
	Size   int64  `json:"size"`             // bytes that this record stands for
	Digest string `json:"digest,omitempty"` // hex SHA-256 of bytes that are not in the body, or of more; docs/audit-format.md
}

// Outcome is how an operation ended.
type Outcome struct {
	Status   string `json:"status"`
	Code     string `json:"code,omitempty"`
	Tag      string `json:"tag,omitempty"`
	Rows     int64  `json:"rows,omitempty"`
	Masked   int64  `json:"masked,omitempty"`
	Rule     string `json:"rule,omitempty"`
	Denied   bool   `json:"denied,omitempty"` // though the intent was allowed: by a mask, a limit on rows, or what the server made of it
	Duration int64  `json:"duration_ns"`
	Response int64  `json:"response_bytes,omitempty"`
	Digest   string `json:"response_digest,omitempty"` // hex SHA-256 of the whole response as the client saw it
	Chunk    *Chunk `json:"chunk,omitempty"`           // the last of the response, in this record's body
}

// Denied reports whether the record says that its operation was denied. One record
// of an operation does at most, and none where it is only observed.
func (h *Header) Denied() bool {
	switch {
	case h.Intent != nil:
		return h.Intent.Effect != "allow" && !h.Intent.Observed
	case h.Outcome != nil:
		return h.Outcome.Denied
	}
	return false
}

// BrokenGlass is the state of an approval that nobody was asked for: a token
// that two people had signed let the operation go on.
const BrokenGlass = "break-glass"

// Preapproved is the state of an approval that nobody was asked for: the signed
// file of a person who had reviewed the statements let the operation go on.
const Preapproved = "pre-approved"

// Approval is a step in the life of an approval. The signed bytes are in the
// body's Extra.
type Approval struct {
	ID       string `json:"id"` // 128 random bits, hex
	Number   uint64 `json:"number,omitempty"`
	Rule     string `json:"rule,omitempty"`
	State    string `json:"state"` // "pending", "approved", "denied", "expired", "withdrawn", "abandoned", "break-glass", "pre-approved"
	Approver string `json:"approver,omitempty"`
	Reason   string `json:"reason,omitempty"`
}
