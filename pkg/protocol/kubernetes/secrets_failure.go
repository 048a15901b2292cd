package kubernetes

import (
	"encoding/json"
	"slices"
	"strings"
)

// failedStatus is an API server's answer to what it did not do (meta/v1 Status).
type failedStatus struct {
	Kind       string   `json:"kind"`
	APIVersion string   `json:"apiVersion"`
	Metadata   struct{} `json:"metadata"`
	Status     string   `json:"status"`
	Message    string   `json:"message"`
	Reason     string   `json:"reason"`
	Details    *struct {
		Name   string `json:"name,omitempty"`
		Group  string `json:"group,omitempty"`
		Kind   string `json:"kind,omitempty"`
		UID    string `json:"uid,omitempty"`
		Causes []struct {
			Reason  string `json:"reason,omitempty"`
			Message string `json:"message,omitempty"`
			Field   string `json:"field,omitempty"`
		} `json:"causes,omitempty"`
		RetryAfterSeconds int32 `json:"retryAfterSeconds,omitempty"`
	} `json:"details,omitempty"`
	Code int `json:"code"`
}

// plainReasons are reasons whose messages speak of names, versions and rights,
// not of what an object holds.
var plainReasons = []string{
	"NotFound", "AlreadyExists", "Conflict", "Forbidden", "Unauthorized", "MethodNotAllowed", "NotAcceptable", "UnsupportedMediaType",
	"Gone", "Expired", "Timeout", "ServerTimeout", "TooManyRequests", "RequestEntityTooLarge", "ServiceUnavailable",
}

// quiet takes from the answer to a failed request about a masked kind what may
// quote the object: of a patch that makes it invalid an API server shows all
// that the object would have been. Fields are named still.
func quiet(document []byte) (out []byte, hidden int, err error) {
	var said failedStatus
	if json.Unmarshal(document, &said) != nil || said.Kind != "Status" {
		return nil, 0, unmasked("the request failed, why is not said in Kubernetes' way")
	}
	if slices.Contains(plainReasons, said.Reason) {
		return document, 0, nil
	}
	said.Message = "sluice: what the server said is hidden, since it may quote what a mask hides"
	if said.Details != nil {
		var fields []string
		for i := range said.Details.Causes {
			cause := &said.Details.Causes[i]
			cause.Message = "[redacted]"
			if cause.Field != "" {
				fields = append(fields, cause.Field)
			}
		}
		if len(fields) > 0 {
			said.Message += ": it is about " + strings.Join(fields, ", ")
		}
	}
	out, err = json.Marshal(said)
	return out, 1, err
}
