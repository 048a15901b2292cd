package api

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxSigned bounds a signed vote or order, in bytes.
const maxSigned = 64 << 10

func (s *server) approvals(r *http.Request, _ Caller) (any, error) {
	q := query{values: r.URL.Query()}
	state, n := q.text("state"), q.limit()
	if err := q.done(); err != nil {
		return nil, err
	}
	return s.Store.Approvals(r.Context(), state, n)
}

func (s *server) approval(r *http.Request, _ Caller) (any, error) {
	number, err := approvalNumber(r)
	if err != nil {
		return nil, err
	}
	return s.Store.Approval(r.Context(), number)
}

func (s *server) vote(r *http.Request, by Caller) (any, error) {
	number, err := approvalNumber(r)
	if err != nil {
		return nil, err
	}
	signed, err := readSigned(r)
	if err != nil {
		return nil, err
	}
	return s.Vote(r.Context(), by, number, signed)
}

func (s *server) orders(r *http.Request, _ Caller) (any, error) { return s.Orders(r.Context()) }

func (s *server) order(r *http.Request, by Caller) (any, error) {
	signed, err := readSigned(r)
	if err != nil {
		return nil, err
	}
	return s.Order(r.Context(), by, signed)
}

// readSigned reads what a person signed.
func readSigned(r *http.Request) ([]byte, error) {
	signed, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxSigned))
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

func (s *server) whoami(_ *http.Request, by Caller) (any, error) {
	roles := make([]string, len(by.Roles))
	for i, r := range by.Roles {
		roles[i] = string(r)
	}
	return view.Caller{Name: by.Name, Roles: roles, Approver: s.Approver(by)}, nil
}
