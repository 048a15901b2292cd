package httpproxy

import "net/http"

// RequestBytes are what an approval binds of a request: its method, target,
// content type and body, as the server gets them.
func RequestBytes(r *http.Request, body []byte) []byte {
	text := make([]byte, 0, len(r.Method)+len(r.URL.RequestURI())+len(body)+64)
	text = append(append(append(text, r.Method...), ' '), r.URL.RequestURI()...)
	if kind := r.Header.Get("Content-Type"); kind != "" {
		text = append(append(text, "\nContent-Type: "...), kind...)
	}
	if len(body) == 0 {
		return text
	}
	return append(append(text, "\n\n"...), body...)
}
