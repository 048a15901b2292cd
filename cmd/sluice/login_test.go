package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// screen is a terminal that somebody reads while a program writes to it.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) read() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

var address = regexp.MustCompile(`(?m)(?:Log in at|Open) (\S+)$`)

// login runs sluice login while a person with a browser does what it says.
func (d *desk) login(name string, args ...string) (status int, said string) {
	d.t.Helper()
	out, ended := &screen{}, make(chan int, 1)
	args = append([]string{"--config", d.config, "--token-file", d.path("mine/token"), "login"}, args...)
	go func() { ended <- run(d.t.Context(), args, strings.NewReader(""), out, out) }()
	await(d.t, "the program says where to log in", func() bool { return address.MatchString(out.read()) })
	d.browse(address.FindStringSubmatch(out.read())[1], name)
	return <-ended, out.read()
}

// browse opens an address, says a name there, and follows wherever that leads:
// in the end to the program that waits on this machine.
func (d *desk) browse(at, name string) {
	d.t.Helper()
	jar, err := cookiejar.New(nil)
	check(d.t, err)
	client := &http.Client{Jar: jar}
	page, err := client.Get(at)
	check(d.t, err)
	text, err := io.ReadAll(page.Body)
	check(d.t, err)
	check(d.t, page.Body.Close())
	id := regexp.MustCompile(`name="id" value="([^"]+)"`).FindSubmatch(text)
	if id == nil {
		d.t.Fatalf("the provider's page has no form: %s", text)
	}
	answer, err := client.PostForm(page.Request.URL.String(), url.Values{"id": {string(id[1])}, "name": {name}})
	check(d.t, err)
	check(d.t, answer.Body.Close())
}

func TestPersonLogsInAndIsWhoeverTheProviderSays(t *testing.T) {
	t.Setenv("PATH", "") // no browser opens by itself
	for how, args := range map[string][]string{"in a browser": nil, "on another device": {"--device"}} {
		t.Run(how, func(t *testing.T) {
			d := newDesk(t)
			status, said := d.login("ada", args...)
			if status != 0 || !strings.Contains(said, "You are ada.") {
				t.Fatalf("%d %s", status, said)
			}
			info, err := os.Stat(d.path("mine/token"))
			check(t, err)
			if info.Mode().Perm() != 0o600 || strings.Contains(said, d.read("mine/token")) {
				t.Errorf("the token's file has mode %v, and the program said %s", info.Mode(), said)
			}
			d.sluice(0, "sessions", "--token-file", d.path("mine/token"))
			if out := d.sluice(2, "shred", "s1", "--reason", "x", "--token-file", d.path("mine/token")); !strings.Contains(out, "roles") {
				t.Errorf("what is an admin's: %s", out)
			}
		})
	}
}

func TestPersonWithoutARoleLogsInAndSeesNothing(t *testing.T) {
	t.Setenv("PATH", "")
	d := newDesk(t)
	if status, said := d.login("nobody"); status != 0 {
		t.Fatalf("%d %s", status, said)
	}
	if out := d.sluice(2, "sessions", "--token-file", d.path("mine/token")); !strings.Contains(out, "none of the roles") {
		t.Errorf("somebody without a role: %s", out)
	}
}
