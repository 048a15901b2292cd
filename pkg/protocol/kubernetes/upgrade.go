package kubernetes

import (
	"net/http"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// upgrade serves a request that opens streams.
func (s *session) upgrade(w http.ResponseWriter, r *http.Request, _ *httpproxy.Session, _ operation.Operation) {
	refuse(w, r, &httpproxy.Refusal{Code: http.StatusNotImplemented, Message: "sluice: streams are not served"})
}
