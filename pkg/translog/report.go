package translog

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
)

// Trust is what a verifier believes beforehand. It never comes from what is
// verified.
type Trust struct {
	Log     string       `json:"log"`               // verifier key of the log
	Agents  []string     `json:"agents"`            // verifier keys of the agents; several for one that changed its key
	Revoked []Revocation `json:"revoked,omitempty"` // which of them are not believed any more

	Witnesses []string `json:"witnesses,omitempty"` // verifier keys of witnesses
	Quorum    int      `json:"quorum,omitempty"`    // how many of them must have co-signed; 0: all
}

// Revocation ends the belief in an agent's key: what it signed before leaf From
// of the log holds, and nothing else does.
type Revocation struct {
	Key  string `json:"key"`
	From int64  `json:"from"`
}

// Code names a kind of finding.
type Code string

// The kinds of finding.
const (
	BundleMalformed     Code = "bundle-malformed"     // a file of the bundle is missing, cannot be read or does not belong there
	CheckpointSignature Code = "checkpoint-signature" // the checkpoint is not signed by the log that we trust
	LogInclusion        Code = "log-inclusion"        // a note is not in the log at its index, or the notes do not give the log's root
	LogRolledBack       Code = "log-rolled-back"      // somebody has proof of more leaves than the log had or has
	SplitView           Code = "split-view"           // somebody has proof of other leaves than the log has
	ReceiptForged       Code = "receipt-forged"       // a receipt or checkpoint that somebody kept is not the log's, or proves nothing
	NoteSignature       Code = "note-signature"       // a note is not what its signer signed
	AgentUnknown        Code = "agent-unknown"        // a batch note of an agent that we do not trust
	KeyForeign          Code = "key-foreign"          // a batch note in an agent's name, signed by a key that is not the agent's
	KeyRevoked          Code = "key-revoked"          // a batch note signed by a key after it was revoked
	Equivocation        Code = "equivocation"         // an agent signed two notes with one number
	BatchReplayed       Code = "batch-replayed"       // the same note is in the log twice
	ChainBroken         Code = "chain-broken"         // a note does not continue the one before it
	EpochUnlinked       Code = "epoch-unlinked"       // an epoch does not continue the one before it
	BatchMissing        Code = "batch-missing"        // numbers are missing in an agent's chain, or leaves within the log
	TailTruncated       Code = "tail-truncated"       // the newest leaves that the checkpoint signs are missing
	TailOpen            Code = "tail-open"            // an agent fell silent without a seal
	RecordsDropped      Code = "records-dropped"      // an agent states that it lost records
	RecordAltered       Code = "record-altered"       // a record is not what the agent signed
	RecordDeleted       Code = "record-deleted"       // a record that the agent signed is not there
	RecordAdded         Code = "record-added"         // a record that the agent did not sign
	Reordered           Code = "reordered"            // records, or an agent's notes, do not stand in the order of their numbers
	RecordInvalid       Code = "record-invalid"       // a record is what the agent signed, and makes no sense
	WitnessMissing      Code = "witness-missing"      // fewer of the trusted witnesses than needed have co-signed the log
	BodyMissing         Code = "body-missing"         // a record's body is not there, and no shredding says why
	SessionIncomplete   Code = "session-incomplete"   // a session's closing count and its records differ, or there is none
)

// Finding is one thing that does not hold. What is not known is empty or -1.
type Finding struct {
	Code    Code         `json:"code"`
	Index   int64        `json:"index"`             // of the leaf in the log, -1 for none
	Agent   string       `json:"agent,omitempty"`   // cluster/agent
	Epoch   record.Epoch `json:"epoch"`             // "-" for none
	Seq     uint64       `json:"seq"`               // of the batch
	Record  int64        `json:"record"`            // number in the epoch, -1 for none
	Session string       `json:"session,omitempty"` // that the record says it belongs to
	Detail  string       `json:"detail"`
}

// String returns one line for a person.
func (f Finding) String() string {
	var where []string
	if f.Agent != "" {
		where = append(where, "agent "+f.Agent+" epoch "+f.Epoch.String()+fmt.Sprintf(" batch %d", f.Seq))
	}
	if f.Record >= 0 {
		where = append(where, fmt.Sprintf("record %d", f.Record))
	}
	if f.Session != "" {
		where = append(where, "session "+f.Session)
	}
	if f.Index >= 0 {
		where = append(where, fmt.Sprintf("leaf %d", f.Index))
	}
	if len(where) == 0 {
		return fmt.Sprintf("%s: %s", f.Code, f.Detail)
	}
	return fmt.Sprintf("%s: %s: %s", f.Code, strings.Join(where, ", "), f.Detail)
}

// Report is what Verify found.
type Report struct {
	Scope    Scope     `json:"scope"`
	Exported time.Time `json:"exported"` // as the bundle says
	Origin   string    `json:"origin"`
	Size     int64     `json:"size"`
	Root     Hash      `json:"root"`
	Agents   int       `json:"agents"`
	Batches  int       `json:"batches"`
	Records  int       `json:"records"`  // read and found to be what their agent signed
	Hidden   int       `json:"hidden"`   // of other sessions, present by their leaf hash
	Sessions int       `json:"sessions"` // with at least one record read
	Shredded int       `json:"shredded"` // records whose body was destroyed, as Shreddings say
	Findings []Finding `json:"findings"`

	Shreddings []IndexedShredding `json:"shreddings"`
	Witnessed  *Witnessed         `json:"witnessed,omitempty"` // nil: no trusted witness has co-signed
}

// IndexedShredding is a shredding and its leaf.
type IndexedShredding struct {
	Index int64 `json:"index"`
	Shredding
}

// OK reports whether all holds.
func (r *Report) OK() bool { return len(r.Findings) == 0 }

// Verify checks a bundle offline. kept are checkpoints and receipts of the log
// that somebody has from elsewhere: the log must contain them. The error says
// that nothing could be verified: the trust is unusable or this is no bundle.
// Whatever does not hold is a finding.
func Verify(bundle fs.FS, trust Trust, kept ...[]byte) (Report, error) {
	v, err := newVerification(bundle, trust)
	if err != nil {
		return Report{}, fmt.Errorf("verify bundle: %w", err)
	}
	v.run()
	for _, one := range kept {
		v.checkKept(one)
	}
	return v.report, nil
}
