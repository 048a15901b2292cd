package git

import (
	"io"
	"net/http"
	"strconv"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// refuse says no to a request as a server does: git shows a person the text of
// an answer that is plain text.
func refuse(w http.ResponseWriter, _ *http.Request, refusal *httpproxy.Refusal) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(refusal.Code)
	_, _ = io.WriteString(w, refusal.Message+"\n") // a client that is gone needs no answer
}

// serverError is an answer of the server that is none to what was asked.
type serverError struct {
	code string // for the record
	says *httpproxy.Refusal
}

func (e *serverError) Error() string { return e.says.Message }

func (e *serverError) refusal() *httpproxy.Refusal { return e.says }

// unanswered is for a server that could not be asked.
func unanswered() *serverError {
	return &serverError{"unreachable", &httpproxy.Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: the server cannot be reached"}}
}

// answered is for an answer with a status or of a type that was not asked for.
// That a repository is not there is the client's business; that the agent may
// not have it is not.
func answered(answer *http.Response) *serverError {
	code := strconv.Itoa(answer.StatusCode)
	refusal := &httpproxy.Refusal{Code: http.StatusBadGateway, Message: "sluice: the server answered with status " + code}
	switch answer.StatusCode {
	case http.StatusOK:
		refusal.Message = "sluice: the server does not answer in git's smart protocol"
	case http.StatusNotFound, http.StatusForbidden, http.StatusTooManyRequests:
		refusal.Code = answer.StatusCode
	case http.StatusUnauthorized:
		refusal.Message = "sluice: the server did not accept the agent's credential"
	}
	return &serverError{code, refusal}
}
