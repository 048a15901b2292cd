package httpproxy

import (
	"net/http"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Site is what a plug-in knows of the servers that it speaks for, in one
// session. Each function may be called by several goroutines at once. Refuse
// and Classify must be there.
type Site struct {
	// Host is what the server is asked for as; "" for what the client wrote. A
	// job chooses that freely, and rules may not trust it.
	Host string
	// Plain serves clients that speak HTTP without TLS, too, and no others where
	// there is no certificate to show. Without it they are told to write https.
	Plain bool
	// Admit takes from a request what must not reach the server: what the job
	// authenticates with, first of all. What belongs to one connection alone is
	// gone already. An error refuses the request. nil: nothing is taken.
	Admit func(r *http.Request) error
	// Stream serves an admitted request by itself, and reports whether it did: its
	// body comes as the client sends it, at any length and in the encoding that its
	// header says. It enters the server, asks, sends and answers with the functions
	// of Session. nil: no request is served so.
	Stream func(w http.ResponseWriter, r *http.Request, s *Session) bool
	// Classify says what is asked for by an admitted request with this body. An
	// error refuses it: nobody is asked about it. What the operation does not say
	// the engine adds: HTTP, and Text and Bytes as RequestBytes has them.
	Classify func(r *http.Request, body []byte) (operation.Operation, error)
	// Streamed is Classify of a request with a body that is larger than what is
	// held: it is forwarded as it comes, and recorded as Input, if the guard allows
	// what is said of it without it. nil: such a request is refused.
	Streamed func(r *http.Request) (operation.Operation, error)
	// Login is added to a request that was allowed, and hidden wherever the answer
	// has it. nil: nothing is added.
	Login *Login
	// Masking says how the answer of an operation is hidden, by its header. nil,
	// as a function and as an answer: not at all. An error hides all of it.
	Masking func(op *operation.Operation, answer *http.Response) (*Masking, error)
	// Refuse writes an answer that is not the server's. Header fields that stand
	// in w already are kept.
	Refuse func(w http.ResponseWriter, r *http.Request, refusal *Refusal)
	// Upgrade serves an admitted and classified request that wants another
	// protocol on its connection (RFC 9110, section 7.8). It has to ask about the
	// operation by itself, with Conn.Ask, and returns when all is over. nil:
	// such a request is refused.
	Upgrade func(w http.ResponseWriter, r *http.Request, s *Session, op operation.Operation)
}

// Masking hides values in one answer. One of Document, Text and Nothing is set;
// none hides nothing.
type Masking struct {
	// Document returns a JSON document as the client may see it, and how many
	// values it hid. An error refuses it and what would follow. An answer is one
	// document, or in Sequence one after the other, without end.
	Document func(document []byte) (masked []byte, values int, err error)
	Sequence bool
	// Text hides what the session's detectors find in what is no document, as in
	// a log.
	Text bool
	// Nothing shows no body, only the header.
	Nothing bool
}

// Refusal is an answer that is not the server's. As the error of a function of
// Site it refuses the request; any other error does so with no more words than
// it needs.
type Refusal struct {
	Code    int    // of HTTP
	Message string // safe to show; not empty
	// What refused it, where that was a decision.
	Rule, Reason string // safe to show; empty: none
	Approval     uint64 // 0: nobody was asked
	Secret       bool   // the request's query is not to be kept
}

// denied is the refusal of a decision.
func denied(decision protocol.Decision) *Refusal {
	status := http.StatusForbidden
	if decision.TooLarge {
		status = http.StatusRequestEntityTooLarge
	}
	return &Refusal{
		Code: status, Message: decision.Refusal(), Approval: decision.Approval,
		Rule: protocol.Printable(decision.Rule), Reason: protocol.Printable(decision.Reason),
	}
}

func (r *Refusal) Error() string { return r.Message }
