package api

import (
	"net/http"
	"strconv"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxPublished bounds a published policy, in bytes: its text is encoded twice.
const maxPublished = 2 * approval.MaxPolicy

// policies rule over all teams.
func (s *server) policies(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	if !sees.All() {
		return nil, errLimited
	}
	return s.Policies(r.Context())
}

func (s *server) policy(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	if !sees.All() {
		return nil, errLimited
	}
	sequence, err := strconv.ParseUint(r.PathValue("sequence"), 10, 63)
	if err != nil || sequence == 0 {
		return nil, bad("a policy has a sequence")
	}
	return s.Policy(r.Context(), sequence)
}

func (s *server) publish(r *http.Request, by Caller, sees view.Scope) (any, error) {
	if !sees.All() {
		return nil, errLimited
	}
	published, err := readSigned(r, maxPublished)
	if err != nil {
		return nil, err
	}
	return s.Publish(r.Context(), by, published)
}
