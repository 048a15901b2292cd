package view

import (
	"fmt"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// Operation is one operation of a session, folded from its records.
type Operation struct {
	ID         uint64             `json:"id"`
	Parent     uint64             `json:"parent,omitempty"`
	At         time.Time          `json:"at"`
	Kind       string             `json:"kind"`
	Text       string             `json:"text"`
	Params     []record.Param     `json:"params,omitempty"`
	Statements []record.Statement `json:"statements,omitempty"`
	SSH        *record.SSH        `json:"ssh,omitempty"`
	Git        *record.Git        `json:"git,omitempty"`
	Kube       *record.Kube       `json:"kube,omitempty"`
	HTTP       *record.HTTP       `json:"http,omitempty"`
	Database   string             `json:"database,omitempty"`
	Role       string             `json:"role,omitempty"`
	Parsed     bool               `json:"parsed"`
	Effect     string             `json:"effect"`
	Observed   bool               `json:"observed,omitempty"` // the effect is what would have been
	Rule       string             `json:"rule,omitempty"`
	Reason     string             `json:"reason,omitempty"`
	Approvals  []ApprovalStep     `json:"approval,omitempty"`
	Status     string             `json:"status,omitempty"` // empty: no outcome was recorded
	Code       string             `json:"code,omitempty"`
	Tag        string             `json:"tag,omitempty"`
	RefusedBy  string             `json:"refused_by,omitempty"` // what refused it after the decision
	Rows       int64              `json:"rows"`
	Masked     int64              `json:"masked"`
	Duration   time.Duration      `json:"duration_ns"`
	Chunks     []Chunk            `json:"chunks,omitempty"`
}

// ApprovalStep is one step in the life of an operation's approval.
type ApprovalStep struct {
	At       time.Time `json:"at"`
	Number   uint64    `json:"number,omitempty"`
	State    string    `json:"state"`
	Approver string    `json:"approver,omitempty"`
	Reason   string    `json:"reason,omitempty"`
}

// Chunk is a piece of one of an operation's streams. Data is nil where only
// digest and size were kept.
type Chunk struct {
	Stream string        `json:"stream"`
	At     time.Duration `json:"at_ns"`
	Size   int64         `json:"size"`
	Data   []byte        `json:"data,omitempty"`
	Digest string        `json:"digest,omitempty"`
}

// Asked says in a few words what was asked where the text does not; "" where it
// does.
func (op *Operation) Asked() string {
	if op.Kube == nil || op.Kube.Resource == "" {
		return ""
	}
	return op.Kube.Operation(operation.Text(op.Text)).Summary()
}

// Fold turns a session's records, in the order of their numbers, into its
// operations, in the order in which they began. Records that belong to no
// operation are passed over.
func Fold(records []Record) ([]*Operation, error) {
	var f folding
	for i := range records {
		if err := f.add(&records[i]); err != nil {
			return nil, fmt.Errorf("record %d of %s: %w", records[i].No, records[i].Agent, err)
		}
	}
	return f.operations, nil
}

type folding struct {
	operations []*Operation
	byID       map[uint64]*Operation
}

func (f *folding) add(r *Record) error {
	header, body, err := Decode(r)
	if err != nil {
		return err
	}
	if header.Operation == 0 {
		return nil
	}
	op := f.operation(&header)
	switch {
	case header.Intent != nil:
		op.intent(&header, &body)
	case header.Chunk != nil:
		op.chunk(header.Chunk, &body)
	case header.Outcome != nil:
		op.outcome(header.Outcome, &body)
	case header.Approval != nil:
		op.approval(&header)
	}
	return nil
}

func (f *folding) operation(h *record.Header) *Operation {
	if op := f.byID[h.Operation]; op != nil {
		return op
	}
	if f.byID == nil {
		f.byID = map[uint64]*Operation{}
	}
	op := &Operation{ID: h.Operation, Parent: h.Parent, At: h.Time}
	f.byID[h.Operation] = op
	f.operations = append(f.operations, op)
	return op
}

func (op *Operation) intent(h *record.Header, body *record.Body) {
	in := h.Intent
	op.Kind, op.Parsed = in.Kind, in.Parsed
	op.Statements, op.SSH, op.Git = in.Statements, in.SSH, in.Git
	op.Kube, op.HTTP = in.Kube, in.HTTP
	op.Database, op.Role = in.Database, in.Role
	op.Effect, op.Rule, op.Reason, op.Observed = in.Effect, in.Rule, in.Reason, in.Observed
	op.Text = string(Data(body)) + op.Text
	op.Params = body.Params
}

func (op *Operation) chunk(c *record.Chunk, body *record.Body) {
	op.Chunks = append(op.Chunks, Chunk{
		Stream: c.Stream, At: time.Duration(c.At), Size: c.Size, Data: Data(body), Digest: c.Digest,
	})
	if body.More {
		op.Text += string(Data(body))
	}
}

func (op *Operation) outcome(out *record.Outcome, body *record.Body) {
	if out.Chunk != nil {
		op.chunk(out.Chunk, body)
	}
	op.Status, op.Code, op.Tag, op.RefusedBy = out.Status, out.Code, out.Tag, out.Rule
	op.Rows, op.Masked, op.Duration = out.Rows, out.Masked, time.Duration(out.Duration)
}

func (op *Operation) approval(h *record.Header) {
	a := h.Approval
	op.Approvals = append(op.Approvals, ApprovalStep{
		At: h.Time, Number: a.Number, State: a.State, Approver: a.Approver, Reason: a.Reason,
	})
}

// Decode reads the bytes of a record. An absent body gives a zero Body.
func Decode(r *Record) (record.Header, record.Body, error) {
	header, err := record.DecodeHeader(r.Header)
	if err != nil {
		return header, record.Body{}, err
	}
	body, err := record.DecodeBody(r.Body)
	return header, body, err
}

// Data returns the request or chunk of a body, however it was encoded.
func Data(body *record.Body) []byte {
	if body.Bytes != nil {
		return body.Bytes
	}
	if body.Text == "" {
		return nil
	}
	return []byte(body.Text)
}
