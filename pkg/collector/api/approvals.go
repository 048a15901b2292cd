package api

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxSigned bounds a signed vote, order or pre-approval, in bytes.
const maxSigned = 64 << 10

func (s *server) approvals(r *http.Request, by Caller, sees view.Scope) (any, error) {
	q := query{values: r.URL.Query()}
	filter := store.ApprovalFilter{Sees: sees, State: q.text("state"), Limit: q.limit(), Before: q.number("before")}
	if err := q.done(); err != nil {
		return nil, err
	}
	if err := s.Witness(r.Context(), by, Act{"approvals.list", filter.State}); err != nil {
		return nil, err
	}
	return s.Store.Approvals(r.Context(), filter)
}

func (s *server) approval(r *http.Request, by Caller, sees view.Scope) (any, error) {
	number, err := approvalNumber(r)
	if err != nil {
		return nil, err
	}
	a, err := s.Store.Approval(r.Context(), sees, number)
	if err != nil {
		return nil, err
	}
	return a, s.Witness(r.Context(), by, Act{"approval.read", r.PathValue("number")})
}

func (s *server) vote(r *http.Request, by Caller, sees view.Scope) (any, error) {
	number, err := approvalNumber(r)
	if err != nil {
		return nil, err
	}
	if _, err := s.Store.Approval(r.Context(), sees, number); err != nil {
		return nil, err
	}
	signed, err := readSigned(r, maxSigned)
	if err != nil {
		return nil, err
	}
	return s.Vote(r.Context(), by, number, signed)
}

// orders name sessions, containers and runs of all teams.
func (s *server) orders(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	if !sees.All() {
		return nil, errLimited
	}
	return s.Orders(r.Context())
}

func (s *server) order(r *http.Request, by Caller, sees view.Scope) (any, error) {
	signed, err := readSigned(r, maxSigned)
	if err != nil {
		return nil, err
	}
	return s.Order(r.Context(), by, sees, signed)
}

func (s *server) reviewed(r *http.Request, _ Caller, sees view.Scope) (any, error) {
	return s.Reviewed(r.Context(), sees)
}

func (s *server) review(r *http.Request, by Caller, sees view.Scope) (any, error) {
	signed, err := readSigned(r, maxSigned)
	if err != nil {
		return nil, err
	}
	return s.Review(r.Context(), by, sees, signed)
}

// readSigned reads what a person signed, at most limit bytes.
func readSigned(r *http.Request, limit int64) ([]byte, error) {
	signed, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &Refusal{http.StatusRequestEntityTooLarge, "what you signed is too large"}
	case err != nil:
		return nil, bad("what you signed could not be read")
	}
	return signed, nil
}

func approvalNumber(r *http.Request) (uint64, error) {
	number, err := strconv.ParseUint(r.PathValue("number"), 10, 63)
	if err != nil || number == 0 {
		return 0, bad("an approval has a number")
	}
	return number, nil
}

func (s *server) whoami(_ *http.Request, by Caller, _ view.Scope) (any, error) {
	have := by.Roles()
	roles := make([]string, len(have))
	for i, r := range have {
		roles[i] = string(r)
	}
	return view.Caller{Name: by.Name, Roles: roles, Approver: s.Approver(by)}, nil
}
