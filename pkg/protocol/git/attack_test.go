package git_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// client is one that is not git.
func (w *world) client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: w.trust(t)}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

func (w *world) trust(t *testing.T) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(w.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// reached returns how many requests came to the server.
func (w *world) reached() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen)
}

// What is not the smart protocol, and what two servers could take for two
// things, does not reach the server.
func TestNothingElseReachesTheServer(t *testing.T) {
	w := newWorld(t, nil)
	for _, request := range []string{
		"GET /shop.git/HEAD HTTP/1.1", // the dumb protocol
		"GET /shop.git/objects/info/packs HTTP/1.1",
		"GET /shop.git/info/refs HTTP/1.1",
		"GET /shop.git/info/refs?service=git-upload-archive HTTP/1.1",
		"GET /shop.git/info/refs?service=git-upload-pack&service=git-receive-pack HTTP/1.1",
		"GET /shop.git/info/refs?Service=git-upload-pack HTTP/1.1",
		"HEAD /shop.git/info/refs?service=git-upload-pack HTTP/1.1",
		"GET //shop.git/info/refs?service=git-upload-pack HTTP/1.1",
		"GET /a/../shop.git/info/refs?service=git-upload-pack HTTP/1.1",
		"GET /shop%2egit/info/refs?service=git-upload-pack HTTP/1.1",
		"GET /shop.git%2finfo/refs?service=git-upload-pack HTTP/1.1",
		"GET /shop.git;x/info/refs?service=git-upload-pack HTTP/1.1",
		"GET /%73hop.git/info/refs?service=git-upload-pack HTTP/1.1",
		"GET /shop.git/info/refs/?service=git-upload-pack HTTP/1.1",
		"GET /info/refs?service=git-upload-pack HTTP/1.1",
		"GET https://elsewhere.example/shop.git/info/refs?service=git-upload-pack HTTP/1.1",
		"POST /git-receive-pack HTTP/1.1",
		"POST /shop.git/git-receive-pack?x=1 HTTP/1.1",
		"PUT /shop.git/git-receive-pack HTTP/1.1",
		"POST /shop.git/git-upload-archive HTTP/1.1",
		"POST /shop.git/info/lfs/objects/batch HTTP/1.1",
		"POST /api/v3/repos HTTP/1.1",
		"CONNECT elsewhere.example:443 HTTP/1.1",
	} {
		answer := w.raw(t, request+"\r\nHost: "+w.addr+"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		if status, _, _ := strings.Cut(answer, "\r\n"); !strings.HasPrefix(status, "HTTP/1.1 4") {
			t.Errorf("%s: %q", request, status)
		}
	}
	answer := w.raw(t, "GET /shop.git/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: elsewhere.example\r\nConnection: close\r\n\r\n")
	if !strings.HasPrefix(answer, "HTTP/1.1 421 ") {
		t.Errorf("another host: %.60q", answer)
	}
	if n := w.reached(); n != 0 {
		t.Errorf("%d requests reached the server", n)
	}
}

// raw sends bytes and returns all that comes back.
func (w *world) raw(t *testing.T, request string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", w.addr, w.trust(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(conn) // however it ends
	return string(answer)
}

// post sends a body to a service.
func (w *world) post(t *testing.T, service string, body io.Reader, header map[string]string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "https://"+w.addr+"/shop.git/"+service, body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-"+service+"-request")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := w.client(t).Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	all, _ := io.ReadAll(answer.Body) // however it ends
	return answer.StatusCode, string(all)
}

// Bodies that are no requests of git's are refused, and the server's services
// get none of them.
func TestBrokenBodies(t *testing.T) {
	w := newWorld(t, nil)
	zero := strings.Repeat("0", 40)
	update := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	bomb := &bytes.Buffer{}
	zip := gzip.NewWriter(bomb)
	for range 64 {
		_, _ = zip.Write([]byte(strings.Repeat("0032want "+zero+"\n", 20<<10)))
	}
	_ = zip.Close()
	endless := &bytes.Buffer{}
	zip = gzip.NewWriter(endless)
	_, _ = zip.Write([]byte("0032want " + zero + "\n0000"))
	for range 64 {
		_, _ = zip.Write([]byte(strings.Repeat("0032have "+zero+"\n", 20<<10)))
	}
	_ = zip.Close()
	for name, test := range map[string]struct {
		service, body string
		header        map[string]string
	}{
		"no pkt-line":          {"git-receive-pack", "GET / HTTP/1.1\r\n", nil},
		"half a pkt-line":      {"git-receive-pack", "00", nil},
		"no capabilities":      {"git-receive-pack", update(zero+" "+zero+" refs/heads/x") + "0000", nil},
		"no pack":              {"git-receive-pack", update(zero+" "+strings.Repeat("1", 40)+" refs/heads/x\x00report-status") + "0000", nil},
		"half a pack":          {"git-receive-pack", update(zero+" "+strings.Repeat("1", 40)+" refs/heads/x\x00report-status") + "0000PACK\x00\x00\x00\x02\x00\x00\x00\x09", nil},
		"a want that is none":  {"git-upload-pack", "0007who", nil},
		"behind ls-refs":       {"git-upload-pack", "0014command=ls-refs\n00000012command=fetch0000", map[string]string{"Git-Protocol": "version=2"}},
		"no gzip":              {"git-upload-pack", "0000", map[string]string{"Content-Encoding": "gzip"}},
		"an unknown coding":    {"git-upload-pack", "0000", map[string]string{"Content-Encoding": "br"}},
		"two codings":          {"git-upload-pack", "0000", map[string]string{"Content-Encoding": "gzip, gzip"}},
		"a bomb":               {"git-upload-pack", bomb.String(), map[string]string{"Content-Encoding": "gzip"}},
		"a bomb behind":        {"git-upload-pack", endless.String(), map[string]string{"Content-Encoding": "gzip"}},
		"another type":         {"git-receive-pack", "0000", map[string]string{"Content-Type": "application/x-git-upload-pack-request"}},
		"a form of a web page": {"git-receive-pack", "0000", map[string]string{"Content-Type": "text/plain"}},
	} {
		status, text := w.post(t, test.service, strings.NewReader(test.body), test.header)
		if status == http.StatusOK && !strings.Contains(text, "sluice: ") {
			t.Errorf("%s: was answered with %q", name, text)
		}
	}
	w.mu.Lock()
	for _, r := range w.seen {
		if r.Method == http.MethodPost {
			t.Errorf("%s reached the server", r.URL)
		}
	}
	w.mu.Unlock()
	w.clean(t)
}

// A client that leaves while its push is held has it withdrawn: nothing of it
// reaches the server, however the answer turns out.
func TestLeavingWhileHeld(t *testing.T) {
	held, noticed := make(chan struct{}), make(chan struct{})
	w := newWorld(t, func(ctx context.Context, op *operation.Operation) protocol.Decision {
		if op.Kind == operation.Push {
			close(held)
			<-ctx.Done()
			close(noticed)
		}
		return protocol.Decision{Effect: protocol.Allow}
	})
	zero := strings.Repeat("0", 40)
	line := zero + " " + strings.Repeat("1", 40) + " refs/heads/x\x00report-status"
	body := fmt.Sprintf("%04x%s0000PACK\x00\x00\x00\x02\x00\x00\x00\x00", len(line)+4, line) +
		"\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e" // SHA-1 of an empty pack
	conn, err := tls.Dial("tcp", w.addr, w.trust(t))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /shop.git/git-receive-pack HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: %d\r\n\r\n%s",
		w.addr, len(body), body)
	select {
	case <-held:
	case <-time.After(20 * time.Second):
		t.Fatal("the push was not asked about")
	}
	_ = conn.NetConn().(*net.TCPConn).SetLinger(0)
	_ = conn.NetConn().Close()
	select {
	case <-noticed:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody noticed that the client left")
	}
	w.finish()
	if push := w.last(t, operation.Push); push.Outcome.Status == protocol.OK {
		t.Errorf("the push ended as %+v", push.Outcome)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.seen {
		if r.Method == http.MethodPost {
			t.Errorf("%s reached the server", r.URL)
		}
	}
}

// A hook of the server's may print its environment, in which a CGI program has
// the request's header.
func TestHooksDoNotTellTheAgentsCredential(t *testing.T) {
	w := newWorld(t, nil)
	hook := `#!/bin/sh
env >&2
printf 'whole %s' "$HTTP_AUTHORIZATION" | head -c 20 >&2
sleep 0.3 # so that its second half is in another packet
printf 'whole %s\n' "$HTTP_AUTHORIZATION" | tail -c +21 >&2
`
	if err := os.WriteFile(w.path("srv/shop.git/hooks/pre-receive"), []byte(hook), 0o700); err != nil { //nolint:gosec // it is run
		t.Fatal(err)
	}
	w.commit(t, "one more")
	out, _ := w.git(t, "work", "push", w.url(), "HEAD:main")
	login := base64.StdEncoding.EncodeToString([]byte(serverUser + ":" + serverPassword))
	second := login[20-len("whole Basic "):]
	if !strings.Contains(out, "HTTP_AUTHORIZATION=Basic *") || strings.Contains(out, second) || !strings.Contains(out, "REQUEST_METHOD=POST") || strings.Contains(out, login) || strings.Contains(out, serverPassword) {
		t.Errorf("the hook said %s", out)
	}
	for _, e := range w.guard.Entries() {
		if text := fmt.Sprint(e.Streams); strings.Contains(text, login) || strings.Contains(text, serverPassword) {
			t.Errorf("recorded: %s", text)
		}
	}
}

// A client may say of a ref that it deletes what it likes: people are told what
// the server said that it is at, and what is lost with it.
func TestDeletionTellsWhatIsThere(t *testing.T) {
	w := newWorld(t, nil)
	w.commit(t, "only here")
	w.mustGit(t, "work", "push", "-q", w.url(), "HEAD:refs/heads/precious")
	at := w.mustGit(t, "work", "rev-parse", "HEAD")
	zero, nobody := strings.Repeat("0", 40), strings.Repeat("d", 40)
	line := nobody + " " + zero + " refs/heads/precious\x00report-status delete-refs"
	status, text := w.post(t, "git-receive-pack", strings.NewReader(fmt.Sprintf("%04x%s0000", len(line)+4, line)), nil)
	push := w.last(t, operation.Push)
	if ref := push.Op.Git.Refs[0]; ref.Old != at || len(ref.Lost) != 1 || !strings.Contains(push.Text, "which is at "+at) || !strings.Contains(push.Text, "only here") {
		t.Errorf("%d %s: policy saw %+v\n%s", status, text, ref, push.Text)
	}
}
