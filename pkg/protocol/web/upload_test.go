package web_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// digest says what a server got of a body.
func digest(w http.ResponseWriter, r *http.Request) {
	body := new(bytes.Buffer)
	_, err := body.ReadFrom(r.Body)
	fmt.Fprintf(w, "%x %v", sha256.Sum256(body.Bytes()), err)
}

// TestArtefactsOfAnyLengthAreSent by curl, in each of its ways to do so.
func TestArtefactsOfAnyLengthAreSent(t *testing.T) {
	w := serve(t, digest, nil)
	file, text := filepath.Join(t.TempDir(), "artefact.tar"), bytes.Repeat([]byte("an artefact\n"), 1<<19)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	const url = "https://" + host + "/files/artefact.tar"
	plain := fmt.Sprintf("%x <nil>", sha256.Sum256(text))
	for _, test := range []struct {
		args   []string
		form   bool
		stream protocol.Stream
	}{
		{[]string{"--http1.1", "-T", file}, true, protocol.Input},
		{[]string{"--http2", "-T", file}, true, protocol.Input},
		{[]string{"--http1.1", "-H", "Transfer-Encoding: chunked", "-H", "Content-Type: application/octet-stream", "-T", file}, false, protocol.Input},
		{[]string{"--http1.1", "-H", "Expect:", "-H", "Content-Type: application/json", "--data-binary", "@" + file}, false, protocol.Request},
		{[]string{"--http2", "-H", "Content-Type: application/vnd.shop+json; charset=utf-8", "-T", file}, false, protocol.Request},
		{[]string{"--http1.1", "-X", "POST", "-H", "Content-Type:", "--data-binary", "@" + file}, true, protocol.Request},
		{[]string{"--http2", "--data-binary", "@" + file}, true, protocol.Request},
		{[]string{"--http2", "-F", "file=@" + file}, true, protocol.Input},
	} {
		out, err := w.curl(t, append(test.args, url)...)
		if err != nil || !strings.HasSuffix(out, "<nil>") || test.args[1] != "-F" && out != plain {
			t.Errorf("%v: %q %v", test.args, out, err)
		}
		all := w.journal.Requests()
		e := all[len(all)-1]
		if !e.Op.HTTP.Streamed || e.Op.HTTP.Form != test.form || e.Op.ReadOnly || !e.Op.Parsed || !strings.Contains(e.Streams[test.stream], string(text)) || strings.Contains(e.Text, "artefact\n") {
			t.Errorf("%v: %+v, %.99q", test.args, *e.Op.HTTP, e.Text)
		}
	}
	w.nowhere(t, jobToken, agentToken)
}

// TestArtefactIsNotSentWhereAMaskHasToReadIt while what detectors look for may
// stand in any.
func TestArtefactIsNotSentWhereAMaskHasToReadIt(t *testing.T) {
	body := strings.Repeat(`{"query": "{ a: email }"}`, 1<<18)
	for status, masks := range map[int]*mask.Set{
		413: {Paths: []mask.Path{{Column: mask.Column{Method: mask.Redact}, Keys: []string{"email"}}}},
		200: {Detect: []mask.Detection{{Detector: mask.JWT, Method: mask.Redact}}},
	} {
		w := serve(t, digest, func(c *protocol.Conn) { c.Masks = masks })
		both(t, func(t *testing.T, http2 bool) {
			got := do(t, w.client(t, http2), "POST", "/graphql", body, "Content-Type: application/octet-stream")
			if got.status != status || status == 413 && !strings.Contains(got.body, "larger than 4 MiB, and a mask") {
				t.Errorf("%+v", got)
			}
		})
		if n := len(w.requests()); (n > 0) != (status == 200) {
			t.Errorf("%d requests reached the server", n)
		}
	}
}
