package collectortest

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// Record is a record before it has a number.
type Record struct {
	Header record.Header
	Body   *record.Body
	// Damage, when it is set, changes the bytes before they are signed, as an
	// agent that is broken or lies would.
	Damage func(header, body []byte) ([]byte, []byte)
}

// Session makes the records of one session, in the order of its calls.
type Session struct {
	ID string

	at         time.Time
	operation  uint64
	records    uint64
	operations uint64
	denied     uint64
	held       uint64
}

// NewSession returns a session with a fresh id that began at a time.
func NewSession(at time.Time) *Session { return &Session{ID: session.NewID(), at: at.UTC()} }

func (s *Session) record(kind record.Type, h record.Header, body *record.Body) Record {
	s.records++
	s.at = s.at.Add(time.Millisecond)
	h.Type, h.Time, h.Session = kind, s.at, s.ID
	return Record{Header: h, Body: body}
}

// Opened is the session's first record: a psql in the container "ci-job" of
// acme/shop, for the resource shop-db.
func (s *Session) Opened() Record {
	return s.record(record.SessionOpened, record.Header{Opened: &session.Session{
		ID: s.ID, Resource: "shop-db", Protocol: "postgres",
		Destination: netip.MustParseAddrPort("192.0.2.10:5432"), Started: s.at,
		Workload: workload.Workload{
			Assurance: workload.Orchestrated,
			Kernel:    workload.KernelFacts{CgroupID: 42, PID: 4711, Exe: "/usr/bin/psql", Container: "c0ffee"},
			Orch:      workload.OrchFacts{Source: "docker", Container: "c0ffee", Name: "ci-job", Image: "acme/runner:1"},
			Verified:  map[string]any{},
			Claimed:   workload.Claims{Env: map[string]string{"GITHUB_REPOSITORY": "acme/shop"}},
			Agent:     workload.Agent{Kind: workload.AgentAI, Product: "Claude Code", Evidence: []string{"claimed.env CLAUDECODE"}},
		},
	}}, nil)
}

// Query is the two records of an allowed statement with a short result of one
// column.
func (s *Session) Query(text, column string, values ...string) []Record {
	s.operation++
	s.operations++
	response := rowDescription(column)
	for _, v := range values {
		response = append(response, dataRow(v)...)
	}
	response = append(response, message('C', []byte("SELECT\x00"))...)
	return []Record{
		s.intent(text, "allow", "", ""),
		s.outcome(record.Outcome{
			Status: "ok", Tag: "SELECT", Rows: int64(len(values)), Duration: int64(3 * time.Millisecond), Response: int64(len(response)),
			Chunk: &record.Chunk{Stream: "response", At: int64(2 * time.Millisecond), Size: int64(len(response))},
		}, response),
	}
}

// Denied is the two records of a refused statement.
func (s *Session) Denied(text, rule string) []Record {
	s.operation++
	s.operations++
	s.denied++
	return []Record{
		s.intent(text, "deny", rule, "not for pipelines"),
		s.outcome(record.Outcome{Status: "refused", Code: "42501"}, nil),
	}
}

// Undone are the records of a statement that was allowed, and denied by what the
// server made of it.
func (s *Session) Undone(text, rule string) []Record {
	s.operation++
	s.operations++
	s.denied++
	return []Record{
		s.intent(text, "allow", "", ""),
		s.outcome(record.Outcome{Status: "refused", Code: "42501", Rule: rule, Denied: true}, nil),
	}
}

// Closed is the session's last record, with its counts.
func (s *Session) Closed() Record {
	return s.record(record.SessionClosed, record.Header{Closed: &record.Closed{
		Records: s.records + 1, Operations: s.operations, Denied: s.denied, Held: s.held, Reason: "client",
	}}, nil)
}

// Approval is a step in the life of an approval of the next statement.
func (s *Session) Approval(kind record.Type, a record.Approval) Record {
	if kind == record.ApprovalRequested {
		s.held++
	}
	return s.record(kind, record.Header{Operation: s.operation + 1, Approval: &a}, nil)
}

func (s *Session) intent(text, effect, rule, reason string) Record {
	return s.record(record.OperationIntent, record.Header{Operation: s.operation, Intent: &record.Intent{
		Kind: "statement", Parsed: true, Database: "shop", Role: "app", Effect: effect, Rule: rule, Reason: reason,
	}}, &record.Body{Text: text})
}

func (s *Session) outcome(out record.Outcome, last []byte) Record {
	return s.record(record.OperationOutcome, record.Header{Operation: s.operation, Outcome: &out}, &record.Body{Bytes: last})
}

// rowDescription, dataRow and message encode what a PostgreSQL server sends
// (PostgreSQL manual, "Message Formats").
func rowDescription(column string) []byte {
	payload := binary.BigEndian.AppendUint16(nil, 1)
	payload = append(append(payload, column...), 0)
	return message('T', append(payload, make([]byte, 18)...))
}

func dataRow(value string) []byte {
	payload := binary.BigEndian.AppendUint16(nil, 1)
	payload = binary.BigEndian.AppendUint32(payload, uint32(len(value)))
	return message('D', append(payload, value...))
}

func message(kind byte, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(payload)+4)), payload...)
}
