package kubernetes

import (
	"net/http"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// masking says how the answer of an operation is hidden.
func (s *session) masking(_ *operation.Operation, _ *http.Response) (*httpproxy.Masking, error) {
	if s.conn.Masks.Empty() {
		return nil, nil
	}
	return nil, &httpproxy.Refusal{Code: http.StatusNotImplemented, Message: "sluice: masks cannot be applied"}
}
