package api

import (
	"context"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// Selection says what to export: one session, or all batches that were stored
// since a time. Exactly one is set.
type Selection struct {
	Session string
	Since   time.Time
}

func (s *server) agents(r *http.Request, _ Caller, _ view.Scope) (any, error) {
	return s.Agents(r.Context())
}

// findings speak of sessions and destinations of all teams.
func (s *server) findings(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	if !sees.All() {
		return nil, errLimited
	}
	q := query{values: r.URL.Query()}
	n := q.limit()
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Findings(r.Context(), n)
}

// errLimited refuses what cannot be cut to what somebody may see.
var errLimited = &Refusal{http.StatusForbidden, "this is for those whose roles have no limits"}

// mayExport refuses what the caller may not see. Batches hold the records of
// all teams, so that only one session can be cut out of them.
func (s *server) mayExport(ctx context.Context, by Caller, sees view.Scope, what Selection) error {
	about := what.Session
	if what.Session == "" {
		if !sees.All() {
			return errLimited
		}
		about = "since " + what.Since.UTC().Format(time.RFC3339)
	} else if _, err := s.Store.Session(ctx, sees, what.Session); err != nil {
		return err
	}
	return s.Witness(ctx, by, Act{"export", about})
}

// head is the answer of /v1/checkpoint.
type head struct {
	Size       int64  `json:"size"`
	Checkpoint string `json:"checkpoint"` // the signed note
}

func (s *server) checkpoint(r *http.Request, _ Caller, _ view.Scope) (any, error) {
	size, note, err := s.Store.Checkpoint(r.Context())
	return head{size, string(note)}, err
}

// exportTime bounds an export.
const exportTime = 10 * time.Minute

// export streams a tar. An error after the first byte can only be told by
// cutting the connection: the client sees an incomplete body.
func (s *server) export(w http.ResponseWriter, r *http.Request, by Caller, sees view.Scope) {
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
	if err := s.mayExport(r.Context(), by, sees, what); err != nil {
		s.refuse(w, err)
		return
	}
	if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(exportTime)); err != nil {
		s.Log.Debug("Write deadline cannot be moved", zap.Error(err))
	}
	w.Header().Set("Content-Type", "application/x-tar")
	s.Log.Info("Evidence is exported", zap.String("by", by.Name), zap.String("session", what.Session))
	if err := s.Export(r.Context(), w, sees, what); err != nil {
		s.Log.Error("Export ended early", zap.Error(err))
		panic(http.ErrAbortHandler)
	}
}
