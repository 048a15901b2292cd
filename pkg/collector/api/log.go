package api

import (
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/translog"
)

// The log is served as C2SP tlog-tiles below /v1/log/. Its checkpoint and
// hashes tell nothing but its size and are for every role. Its entries are
// batch notes: which agents there are, when they were busy and how much, of all
// teams. They hold no record, and are for those who read records and have no
// limits.

// logCheckpoint answers with the signed note itself.
func (s *server) logCheckpoint(w http.ResponseWriter, r *http.Request, _ Caller, _ view.Scope) {
	_, note, err := s.Store.Checkpoint(r.Context())
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.writeLog(w, "text/plain; charset=utf-8", note)
}

// logCosigned answers with the newest checkpoint that witnesses co-signed.
func (s *server) logCosigned(w http.ResponseWriter, r *http.Request, _ Caller, _ view.Scope) {
	_, note, err := s.Store.Cosigned(r.Context())
	if err == nil && note == nil {
		err = &Refusal{http.StatusNotFound, "no witness has co-signed the log"}
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	s.writeLog(w, "text/plain; charset=utf-8", note)
}

// tile answers with hashes or entries. What a tile holds never changes, so that
// whoever asked may keep it.
func (s *server) tile(w http.ResponseWriter, r *http.Request, by Caller, _ view.Scope) {
	ctx, cancel := context.WithTimeout(r.Context(), requestTime)
	defer cancel()
	data, err := s.readTile(ctx, r.PathValue("path"), by)
	if errors.Is(err, translog.ErrNoTile) {
		err = &Refusal{http.StatusNotFound, err.Error()}
	}
	if err != nil {
		s.refuse(w, err)
		return
	}
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	s.writeLog(w, "application/octet-stream", data)
}

func (s *server) readTile(ctx context.Context, path string, by Caller) ([]byte, error) {
	tile, err := translog.ParseTile(path)
	if err != nil {
		return nil, err
	}
	if sees := by.Sees(readers()...); tile.IsEntries() && !sees.All() {
		return nil, &Refusal{http.StatusForbidden, "entries are for " + list(readers()) + " whose roles have no limits"}
	}
	size, _, err := s.Store.Checkpoint(ctx)
	if err != nil {
		return nil, err
	}
	if !tile.Within(size) {
		return nil, translog.ErrNoTile
	}
	if !tile.IsEntries() {
		return tile.Hashes(s.Store.Hashes(ctx))
	}
	first, end := tile.Leaves()
	notes, err := s.Store.Notes(ctx, first, end)
	if err != nil {
		return nil, err
	}
	var data []byte
	for _, note := range notes {
		if data, err = translog.AppendEntry(data, note); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (s *server) writeLog(w http.ResponseWriter, kind string, data []byte) {
	w.Header().Set("Content-Type", kind)
	if _, err := w.Write(data); err != nil {
		s.Log.Debug("Caller went away", zap.Error(err))
	}
}
