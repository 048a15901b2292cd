package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sluicegate/sluice/testenv/issuer"
)

// webURL is the shop's own API, on the machine of its database, and webPlainURL
// the same without TLS.
const (
	webURL      = "https://web.lab"
	webPlainURL = "http://web.lab"
)

// startWeb starts the API.
func (l *lab) startWeb() error {
	if err := os.MkdirAll(l.path("web"), 0o700); err != nil {
		return err
	}
	if err := l.authority.issue(l.path("web", "tls.key"), l.path("web", "tls.crt"), "web.lab", l.address(2)); err != nil {
		return err
	}
	if _, err := l.secret("web"); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	logFile := l.path("web.log")
	p, err := spawn(logFile, nil, l.inNetns(l.netnsOf("pg"), "env", "SLUICE_LAB_DIR="+l.dir, program, "api")...)
	if err != nil {
		return err
	}
	if err := l.started("web", p); err != nil {
		return err
	}
	ready := func() bool {
		_, err := command(l.inNetns(l.netnsOf("pg"), "python3", "-c",
			fmt.Sprintf("import socket; [socket.create_connection((%q, port), 5) for port in (80, 443)]", l.address(2)))...)
		return err == nil
	}
	if err := waitFor(30*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(logFile))
	}
	return nil
}

// serveWeb serves the API until it is ended.
func (l *lab) serveWeb() error {
	token, err := l.secret("web")
	if err != nil {
		return err
	}
	system, err := issuer.NewCI(nil, l.path("ci")) // its GitLab mints no tokens
	if err != nil {
		return err
	}
	api := &shopAPI{token: token, gitlab: system.Handler(), files: l.path("web"), releases: map[string]bool{"1": true, "2": true}}
	server := func(port string) *http.Server {
		return &http.Server{Addr: port, Handler: api, ReadHeaderTimeout: 5 * time.Second}
	}
	ended := make(chan error, 3)
	go func() { ended <- server(":80").ListenAndServe() }()
	for _, port := range []string{":443", ":8443"} { // the latter is no resource's, unless a test makes it one
		go func() { ended <- server(port).ListenAndServeTLS(l.path("web", "tls.crt"), l.path("web", "tls.key")) }()
	}
	return <-ended
}

// shopAPI is what a shop has for its own programs, in memory but for files.
type shopAPI struct {
	token  string
	gitlab http.Handler // the CI system's, on the same host
	files  string       // where they are

	mu       sync.Mutex
	releases map[string]bool // by number; guarded by mu
	deployed []string        // guarded by mu
}

// customers are those of the database.
const customers = `{"customers":[{"id":1,"name":"Ada Example","email":"ada@example.com","ssn":"078-05-1120"},` +
	`{"id":2,"name":"Ben Example","email":"ben@example.com","ssn":"219-09-9999"}],"total":2}` + "\n"

// ServeHTTP logs a request, to whoever sent it, and answers it.
func (a *shopAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/api/v4/job" {
		a.gitlab.ServeHTTP(w, r)
		return
	}
	if name, isFile := strings.CutPrefix(r.URL.Path, "/v1/files/"); isFile && r.Header.Get("Authorization") == "Bearer "+a.token {
		a.file(w, r, filepath.Join(a.files, "file-"+filepath.Base(name)))
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	fmt.Fprintf(os.Stderr, "%s %s %s %s %q\n", r.Proto, r.Method, r.RequestURI, body, r.UserAgent())
	if r.Header.Get("Authorization") != "Bearer "+a.token && r.Header.Get("X-Api-Key") != a.token {
		w.Header().Set("WWW-Authenticate", "Bearer")
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return
	}
	w.Header().Set("Set-Cookie", "session=of-the-agent")
	w.Header().Set("Content-Type", "application/json")
	release, isRelease := strings.CutPrefix(r.URL.Path, "/v1/releases/")
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/v1/customers":
		_, _ = io.WriteString(w, customers)
	case r.Method == http.MethodGet && r.URL.Path == "/v1/echo": // as debugging pages do
		a.answer(w, map[string]any{"header": r.Header, "host": r.Host, "proto": r.Proto})
	case r.Method == http.MethodGet && r.URL.Path == "/v1/state":
		a.mu.Lock()
		defer a.mu.Unlock()
		a.answer(w, map[string]any{"releases": a.releases, "deployed": a.deployed})
	case r.Method == http.MethodGet && r.URL.Path == "/v1/page":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<p>ada@example.com</p>")
	case r.Method == http.MethodDelete && isRelease:
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.releases, release)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPost && r.URL.Path == "/v1/deployments":
		a.mu.Lock()
		defer a.mu.Unlock()
		a.deployed = append(a.deployed, string(body))
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"status":"deploying"}`)
	default:
		http.NotFound(w, r)
	}
}

// file stores what it is sent, and answers with what it has.
func (a *shopAPI) file(w http.ResponseWriter, r *http.Request, at string) {
	if r.Method != http.MethodPut {
		http.ServeFile(w, r, at)
		return
	}
	file, err := os.Create(at)
	if err != nil {
		http.Error(w, "it cannot be stored", http.StatusInternalServerError)
		return
	}
	n, err := io.Copy(file, r.Body)
	err = errors.Join(err, file.Close())
	fmt.Fprintf(os.Stderr, "%s %s %s %d bytes, %v\n", r.Proto, r.Method, r.RequestURI, n, err)
	if err == nil {
		w.WriteHeader(http.StatusCreated)
	}
}

func (a *shopAPI) answer(w io.Writer, value any) { _ = json.NewEncoder(w).Encode(value) }

// webResource is the API at one of its ports, as the agent protects it.
func (l *lab) webResource(name string, port int) map[string]any {
	login := map[string]any{"user": "deployer", "token_file": l.path("secrets", "web")}
	check := map[string]any{"mode": "verify-full", "ca_file": l.caFile()}
	if port == 80 {
		login["header"], check = "X-Api-Key", map[string]any{"mode": "off"}
	}
	return map[string]any{
		"name": name, "protocol": "web", "hosts": []string{"web.lab"}, "port": port, "credentials": []any{login}, "server_tls": check,
	}
}

// besideWeb runs a command beside the API, which it may ask as the agent may:
// curl finds what it needs in its configuration. Only an address that exists
// there leads past the agent.
func (l *lab) besideWeb(cmd []string) error {
	token, err := l.secret("web")
	if err != nil {
		return err
	}
	settings := fmt.Sprintf("cacert = %q\nheader = \"Authorization: Bearer %s\"\nresolve = \"web.lab:443:127.0.0.1\"\nresolve = \"web.lab:80:127.0.0.1\"\n", l.caFile(), token)
	if err := l.write(settings, "web", ".curlrc"); err != nil {
		return errors.New("its settings cannot be written")
	}
	return attached([]string{"CURL_HOME=" + l.path("web")}, l.inNetns(l.netnsOf("pg"), cmd...)...)
}
