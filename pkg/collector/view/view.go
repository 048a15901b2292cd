// Package view is what the collector shows: the JSON of its API, and the
// folding of records into operations that people read.
//
// Everything here is derived. A view proves nothing: it is made from records,
// and only records, with their notes and proofs, are evidence. The package
// does no I/O and links no store, so that the command line can share it.
package view

import (
	"encoding/json"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
)

// Session is one entry of GET /v1/sessions. The five groups of facts are the
// agent's own JSON of workload.Workload, passed through.
type Session struct {
	ID              string          `json:"id"`
	Resource        string          `json:"resource"`
	Protocol        string          `json:"protocol"`
	Destination     string          `json:"destination"`
	Started         time.Time       `json:"started"`
	Ended           *time.Time      `json:"ended"` // null while it is open
	Reason          string          `json:"reason,omitempty"`
	Assurance       string          `json:"assurance"`
	Kernel          json.RawMessage `json:"kernel"`
	Orch            json.RawMessage `json:"orch"`
	Verified        json.RawMessage `json:"verified"`
	Claimed         json.RawMessage `json:"claimed"`
	Agent           json.RawMessage `json:"agent"` // the AI agent or pipeline, not the node agent
	Operations      uint64          `json:"operations"`
	Denied          uint64          `json:"denied"`
	Held            uint64          `json:"held"`
	Masked          uint64          `json:"masked"`
	Repository      string          `json:"repository,omitempty"`       // of the verified token
	Run             string          `json:"run,omitempty"`              // what tells sessions of one pipeline run
	Parent          string          `json:"parent,omitempty"`           // the session that it is inside of
	ParentOperation uint64          `json:"parent_operation,omitempty"` // which of that session it is
	ReportedBy      string          `json:"reported_by"`                // the node agent that signed its records
	Epoch           string          `json:"epoch"`
}

// Run is what the sessions of one pipeline run did, as far as the reader may
// see them.
type Run struct {
	ID         string    `json:"id"` // begins with verified:, claimed:, pod: or container:
	Repository string    `json:"repository,omitempty"`
	Started    time.Time `json:"started"` // of its first session
	Newest     time.Time `json:"newest"`  // start of its newest session
	Resources  []string  `json:"resources"`
	Sessions   uint64    `json:"sessions"`
	Open       uint64    `json:"open"`
	Operations uint64    `json:"operations"`
	Denied     uint64    `json:"denied"`
	Held       uint64    `json:"held"`
	Masked     uint64    `json:"masked"`
}

// Record is one audit record with its place in the evidence. Header and Body
// are the exact bytes that the agent signed.
type Record struct {
	Agent  string          `json:"agent"`
	Epoch  string          `json:"epoch"`
	No     uint64          `json:"no"`
	Index  int64           `json:"index"` // of its batch note in the log
	Header json.RawMessage `json:"header"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// Records is one page of a session's records. Next is the cursor of the next
// page and empty on the last.
type Records struct {
	Records []Record `json:"records"`
	Next    string   `json:"next,omitempty"`
}

// Hit is one record that a search found.
type Hit struct {
	Session   string    `json:"session"`
	Resource  string    `json:"resource"`
	Operation uint64    `json:"operation,omitempty"`
	Type      string    `json:"type"`
	Time      time.Time `json:"time"`
	No        uint64    `json:"no"`
	Index     int64     `json:"index"`
	Excerpt   string    `json:"excerpt"`
}

// Found is one page of a search. Lag is the number of stored batches that the
// index does not hold yet. Next is the cursor of the next page, 0 on the last.
type Found struct {
	Hits []Hit `json:"hits"`
	Lag  int64 `json:"lag"`
	Next int64 `json:"next,omitempty"`
}

// Chain is what the collector knows of one node agent.
type Chain struct {
	Agent    string     `json:"agent"`
	Key      string     `json:"key"` // the note verifier key; empty when it is no longer enrolled
	Epoch    string     `json:"epoch,omitempty"`
	Reason   string     `json:"reason,omitempty"` // why the epoch began
	NextSeq  uint64     `json:"next_seq"`
	Records  uint64     `json:"records"`
	Drops    uint64     `json:"drops"`
	LastSeen *time.Time `json:"last_seen"` // when the collector stored its last batch
	Sealed   bool       `json:"sealed"`    // it stopped in good order
	TailOpen bool       `json:"tail_open"` // silent for more than two heartbeats without a seal
	// What the agent says of itself, and since when it works by that policy.
	Version     string        `json:"version,omitempty"`
	Host        string        `json:"host,omitempty"`
	Policy      string        `json:"policy,omitempty"` // hex SHA-256
	PolicySince *time.Time    `json:"policy_since,omitempty"`
	Behind      time.Duration `json:"behind_ns"` // from the newest batch's last record to its place in the log
	Findings    uint64        `json:"findings"`
	Parked      uint64        `json:"parked"`      // batches that wait for one before them
	Quarantined uint64        `json:"quarantined"` // messages in its name that were not believed
}

// Finding is something about the evidence that a person must look at.
type Finding struct {
	At     time.Time `json:"at"`
	Agent  string    `json:"agent"`
	Epoch  string    `json:"epoch,omitempty"`
	Seq    uint64    `json:"seq"`
	Code   string    `json:"code"`
	Detail string    `json:"detail,omitempty"`
}

// Approval is one entry of GET /v1/approvals. Request is the agent's signed
// request, verbatim: whoever votes verifies and reads that, not the rest. What
// Explain fills in is only its own words again.
type Approval struct {
	Number     uint64 `json:"number"`
	ID         string `json:"id"`
	State      string `json:"state"`
	Agent      string `json:"agent"`
	Session    string `json:"session"`
	Operation  uint64 `json:"operation"`
	Resource   string `json:"resource"`
	Repository string `json:"repository,omitempty"` // of the requester's verified token
	Rule       string `json:"rule"`
	Reason     string `json:"reason,omitempty"`
	Text       string `json:"text"` // masked
	// What the names in it mean; empty where the resource knows no such
	// things.
	Database   string `json:"database,omitempty"`
	Role       string `json:"role,omitempty"`
	SearchPath string `json:"search_path,omitempty"`
	// Reach is what it would touch, and Before what came before it.
	Reach     *operation.Reach `json:"reach,omitempty"`
	Before    *approval.Before `json:"before,omitempty"`
	Requested time.Time        `json:"requested"`
	NotAfter  time.Time        `json:"not_after"`
	Request   []byte           `json:"request,omitempty"`
	Votes     []Vote           `json:"votes,omitempty"`
}

// Explain fills in what the signed request says beside its text. A request that
// cannot be read explains nothing; nobody can vote on it either.
func (a *Approval) Explain() {
	r, err := approval.Peek(a.Request)
	if err != nil {
		return
	}
	a.Database, a.Role, a.SearchPath = r.Where.Database, r.Where.Role, r.Where.SearchPath
	a.Reach, a.Before = r.Reach, r.Before
}

// Vote is one person's answer. Signed is the vote, verbatim.
type Vote struct {
	Approver string    `json:"approver"`
	Decision string    `json:"decision"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
	Signed   []byte    `json:"signed,omitempty"`
}

// Order is one entry of GET /v1/orders: what a person ordered agents to stop.
type Order struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"` // "kill", "quarantine" or "release"
	Session   string    `json:"session,omitempty"`
	Container string    `json:"container,omitempty"`
	Run       string    `json:"run,omitempty"`
	Lifts     string    `json:"lifts,omitempty"` // the quarantine that a release lifts
	By        string    `json:"by"`
	Console   bool      `json:"console,omitempty"` // the console's key signed it for that person
	Reason    string    `json:"reason,omitempty"`
	At        time.Time `json:"at"`
	Expires   time.Time `json:"expires"`
	LiftedBy  string    `json:"lifted_by,omitempty"` // of a quarantine
}

// Preapproval is one entry of GET /v1/preapprovals: a file of statements that a
// person approved for the job of one commit.
type Preapproval struct {
	ID         string    `json:"id"`
	Repository string    `json:"repository"`
	Commit     string    `json:"commit"`
	Resource   string    `json:"resource"`
	Rule       string    `json:"rule"`
	File       string    `json:"file"` // hex SHA-256
	Statements int       `json:"statements"`
	By         string    `json:"by"`
	Reason     string    `json:"reason,omitempty"`
	At         time.Time `json:"at"`
	Expires    time.Time `json:"expires"`
}

// Login says where and as what a program logs a person in.
type Login struct {
	Issuer   string   `json:"issuer"`
	ClientID string   `json:"client_id"`
	Scopes   []string `json:"scopes"`
}

// Problem is the body of every refusal.
type Problem struct {
	Error string `json:"error"`
}

// Caller is who the collector takes a token's holder for.
type Caller struct {
	Name     string   `json:"name"`
	Roles    []string `json:"roles"`
	Approver string   `json:"approver,omitempty"` // name in the roster of approvers
}

// Shredded is what came of destroying a session's bodies.
type Shredded struct {
	Session string `json:"session"`
	Bodies  int    `json:"bodies"`
}
