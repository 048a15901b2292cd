package kubernetes

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// status is what API servers answer instead of an object (meta/v1 Status).
type status struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   struct{} `json:"metadata"`
	Status     string   `json:"status"`
	Message    string   `json:"message"`
	Reason     string   `json:"reason"`
	Code       int      `json:"code"`
}

// reasons are Kubernetes' words for codes of HTTP (meta/v1 StatusReason).
var reasons = map[int]string{
	http.StatusBadRequest:            "BadRequest",
	http.StatusForbidden:             "Forbidden",
	http.StatusMethodNotAllowed:      "MethodNotAllowed",
	http.StatusRequestTimeout:        "Timeout",
	http.StatusRequestEntityTooLarge: "RequestEntityTooLarge",
	http.StatusUnsupportedMediaType:  "UnsupportedMediaType",
	http.StatusTooManyRequests:       "TooManyRequests",
	http.StatusBadGateway:            "ServiceUnavailable",
	http.StatusServiceUnavailable:    "ServiceUnavailable",
}

// statusOf is a refusal in Kubernetes' words.
func statusOf(refusal *httpproxy.Refusal) []byte {
	reason := reasons[refusal.Code]
	if reason == "" {
		reason = "InternalError"
	}
	text, err := json.Marshal(status{
		Kind: "Status", APIVersion: "v1", Status: "Failure", Message: refusal.Message, Reason: reason, Code: refusal.Code,
	})
	if err != nil {
		return nil // of strings and a number there is no error
	}
	return append(text, '\n')
}

// refuse says no as an API server does. JSON is read by clients that asked for
// something else, too.
func refuse(w http.ResponseWriter, r *http.Request, refusal *httpproxy.Refusal) {
	body := statusOf(refusal)
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(refusal.Code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that is gone is noticed elsewhere
	}
}
