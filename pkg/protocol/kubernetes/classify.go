package kubernetes

import (
	"net/http"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// classify says what a request asks for.
func (s *session) classify(*http.Request, []byte) (operation.Operation, error) {
	return operation.Operation{}, &httpproxy.Refusal{Code: http.StatusNotImplemented, Message: "sluice: it is not understood"}
}
