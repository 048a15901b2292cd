package api

import (
	"net/http"
	"time"

	"go.uber.org/zap"
)

// Selection says what to export: one session, or all batches that were stored
// since a time. Exactly one is set.
type Selection struct {
	Session string
	Since   time.Time
}

func (s *server) agents(r *http.Request, _ Caller) (any, error) {
	return s.Agents(r.Context())
}

func (s *server) findings(r *http.Request, _ Caller) (any, error) {
	q := query{values: r.URL.Query()}
	n := q.limit()
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Findings(r.Context(), n)
}

// head is the answer of /v1/checkpoint.
type head struct {
	Size       int64  `json:"size"`
	Checkpoint string `json:"checkpoint"` // the signed note
}

func (s *server) checkpoint(r *http.Request, _ Caller) (any, error) {
	size, note, err := s.Store.Checkpoint(r.Context())
	return head{size, string(note)}, err
}

// exportTime bounds an export.
const exportTime = 10 * time.Minute

// export streams a tar. An error after the first byte can only be told by
// cutting the connection: the client sees an incomplete body.
func (s *server) export(w http.ResponseWriter, r *http.Request, by Caller) {
	q := query{values: r.URL.Query()}
	what := Selection{Session: q.text("session"), Since: q.moment("since")}
	if err := q.done(); err != nil {
		s.refuse(w, err)
		return
	}
	if (what.Session == "") == what.Since.IsZero() {
		s.refuse(w, bad("give either session or since"))
		return
	}
	if what.Session != "" {
		if _, err := s.Store.Session(r.Context(), what.Session); err != nil {
			s.refuse(w, err)
			return
		}
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportTime)); err != nil {
		s.Log.Debug("Write deadline cannot be moved", zap.Error(err))
	}
	w.Header().Set("Content-Type", "application/x-tar")
	s.Log.Info("Evidence is exported", zap.String("by", by.Name), zap.String("session", what.Session))
	if err := s.Export(r.Context(), w, what); err != nil {
		s.Log.Error("Export ended early", zap.Error(err))
		panic(http.ErrAbortHandler)
	}
}
