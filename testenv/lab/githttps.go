package main

import (
	"fmt"
	"net/http"
	"net/http/cgi"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// gitHTTPS is the lab's repository over HTTPS, by the same path as over SSH.
const gitHTTPS = "https://git.lab/srv/git/shop.git"

// gitUser is whom the agent logs in as over HTTPS.
const gitUser = "app"

// startGitHTTPS starts a web server with git's own CGI program on the host of
// the repositories.
func (l *lab) startGitHTTPS() error {
	h := l.gitHost()
	if err := l.authority.issue(l.path("git", "tls.key"), l.path("git", "tls.crt"), h.server, l.address(h.address)); err != nil {
		return err
	}
	if _, err := l.secret("git-https"); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	logFile := l.path("git-https.log")
	p, err := spawn(logFile, nil, l.asHost(h, "env", "SLUICE_LAB_DIR="+l.dir, program, "repositories")...)
	if err != nil {
		return err
	}
	if err := l.started("git-https", p); err != nil {
		return err
	}
	ready := func() bool { return strings.Contains(tail(logFile), "serving") }
	if err := waitFor(30*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(logFile))
	}
	return nil
}

// serveGitHTTPS serves the repositories until it is ended, to whoever has the
// agent's password.
func (l *lab) serveGitHTTPS() error {
	password, err := l.secret("git-https")
	if err != nil {
		return err
	}
	where, err := command("git", "--exec-path")
	if err != nil {
		return err
	}
	h := l.gitHost()
	backend := cgi.Handler{
		Path: "/usr/bin/setpriv", Root: "/",
		Args: []string{
			fmt.Sprintf("--reuid=%d", h.uid), fmt.Sprintf("--regid=%d", h.uid), "--clear-groups", "--",
			filepath.Join(strings.TrimSpace(where), "git-http-backend"),
		},
		Env: []string{"GIT_PROJECT_ROOT=/", "GIT_HTTP_EXPORT_ALL=1", "HOME=/home/" + h.user, "REMOTE_USER=" + gitUser},
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, sent, _ := r.BasicAuth()
		fmt.Fprintf(os.Stderr, "%s %s %q\n", r.Method, r.URL.Path, r.UserAgent())
		if user != gitUser || sent != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		one := backend
		one.Env = append([]string{"GIT_PROTOCOL=" + r.Header.Get("Git-Protocol")}, backend.Env...)
		one.ServeHTTP(w, r)
	})
	server := &http.Server{Addr: ":443", Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	fmt.Fprintln(os.Stderr, "serving")
	return server.ListenAndServeTLS(l.path("git", "tls.crt"), l.path("git", "tls.key"))
}

// gitHTTPSResource is the same host as the agent protects it there.
func (l *lab) gitHTTPSResource() map[string]any {
	return map[string]any{
		"name": "git-https", "protocol": "git", "hosts": []string{l.gitHost().server}, "port": 443,
		"credentials": []any{map[string]any{"user": gitUser, "password_file": l.path("secrets", "git-https")}},
		"server_tls":  map[string]any{"mode": "verify-full", "ca_file": l.caFile()},
	}
}
