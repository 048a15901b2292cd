package api

import (
	"encoding/json"
	"net/http"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// maxReason bounds the body of a request to shred, in bytes.
const maxReason = 4 << 10

// shred destroys the bodies of a session's records. The log says who asked and
// why, for good.
func (s *server) shred(r *http.Request, by Caller, sees view.Scope) (any, error) {
	var asked struct {
		Reason string `json:"reason"`
	}
	decoder := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxReason))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&asked); err != nil || !translog.IsWords(asked.Reason) {
		return nil, bad("give a reason: one line of text, up to 512 bytes")
	}
	session, err := s.Store.Session(r.Context(), sees, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := s.Witness(r.Context(), by, Act{"session.shred", session.ID}); err != nil {
		return nil, err
	}
	bodies, err := s.Store.Shred(r.Context(), store.Shred{Session: session.ID, By: by.Name, Reason: asked.Reason})
	s.Log.Warn("Bodies were destroyed", zap.String("by", by.Name), zap.String("session", session.ID), zap.Int("bodies", bodies))
	return view.Shredded{Session: session.ID, Bodies: bodies}, err
}
