package web

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// refusal is one in JSON.
type refusal struct {
	Error    string `json:"error"`
	Rule     string `json:"rule,omitempty"`
	Reason   string `json:"reason,omitempty"`
	Approval uint64 `json:"approval,omitempty"`
}

// refuse says no in JSON to who speaks it, and in a line of text to others. What
// refused it stands in fields, too, whatever form the body has.
func refuse(w http.ResponseWriter, r *http.Request, why *httpproxy.Refusal) {
	header := w.Header()
	body := []byte(why.Message + "\n")
	header.Set("Content-Type", "text/plain; charset=utf-8")
	if speaksJSON(r.Header) {
		text, err := json.Marshal(refusal{Error: why.Message, Rule: why.Rule, Reason: why.Reason, Approval: why.Approval})
		if err == nil { // of strings and a number there is no error
			body = append(text, '\n')
		}
		header.Set("Content-Type", "application/json")
	}
	for name, value := range map[string]string{"Sluice-Rule": why.Rule, "Sluice-Reason": why.Reason} {
		if value != "" {
			header.Set(name, value)
		}
	}
	if why.Approval != 0 {
		header.Set("Sluice-Approval", strconv.FormatUint(why.Approval, 10))
	}
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(why.Code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that is gone is noticed elsewhere
	}
}

// speaksJSON reports whether a client asks for JSON by name, or sent some.
func speaksJSON(header http.Header) bool {
	for _, value := range append(header["Accept"], header["Content-Type"]...) {
		for kind := range strings.SplitSeq(value, ",") {
			if media, _, err := mime.ParseMediaType(kind); err == nil && (isJSON(media) || isSequence(media)) {
				return true
			}
		}
	}
	return false
}
