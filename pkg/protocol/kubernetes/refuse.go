package kubernetes

import (
	"net/http"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// refuse says no as an API server does.
func refuse(w http.ResponseWriter, _ *http.Request, refusal *httpproxy.Refusal) {
	http.Error(w, refusal.Message, refusal.Code)
}
