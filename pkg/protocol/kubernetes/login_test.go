package kubernetes

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	sessions "github.com/sluicegate/sluice/pkg/session"
)

func TestWhatTheJobAuthenticatesWithGoesNowhere(t *testing.T) {
	s := &session{conn: &protocol.Conn{Session: &sessions.Session{ID: "id"}, Credential: protocol.Credential{Token: "ours"}}}
	s.conn.Masks = &mask.Set{}
	s.login = httpproxy.NewLogin(s.conn)
	r, err := http.NewRequest(http.MethodGet, "https://kube.example/api", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer theirs", "X-Remote-User": "theirs", "X_Remote_Group": "theirs", "X-Remote-Extra-A": "theirs", "X-Forwarded-User": "theirs",
		"Sec-Websocket-Protocol": "v5.channel.k8s.io, Base64url.bearer.authorization.k8s.io.theirs", "User-Agent": "kubectl/1 sluice/other", "X-Kept": "1",
	} {
		r.Header[name] = []string{value}
	}
	if err := s.admit(r); err != nil {
		t.Fatal(err)
	}
	s.login.Authenticate(t.Context(), r)
	for name, values := range r.Header {
		if strings.Contains(strings.Join(values, " "), "theirs") {
			t.Errorf("%s is there", name)
		}
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer ours", "User-Agent": "kubectl/1 sluice/other sluice/id", "Sec-Websocket-Protocol": "v5.channel.k8s.io", "X-Kept": "1",
	} {
		if got := r.Header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	for _, name := range []string{"Impersonate-User", "Impersonate-Extra-scopes", "Impersonate_group", "IMPERSONATE-UID"} {
		r.Header = http.Header{name: {"admin"}}
		if err := s.admit(r); err == nil {
			t.Errorf("%s is let through", name)
		}
	}
}

func TestObjectsAreAskedForInAFormThatCanBeRead(t *testing.T) {
	for accept, want := range map[string][2]string{ // without masks, with masks
		"application/vnd.kubernetes.protobuf":                   {"application/json", "application/json"},
		"application/vnd.kubernetes.protobuf, application/json": {"application/json", "application/json"},
		"application/json;as=Table;v=v1;g=meta.k8s.io,application/json": {
			"application/json;as=Table;v=v1;g=meta.k8s.io, application/json", "application/json;as=Table;v=v1;g=meta.k8s.io, application/json",
		},
		"application/cbor-seq;q=1, */*":                       {"*/*", "*/*"},
		"APPLICATION/YAML":                                    {"APPLICATION/YAML", "application/json"},
		"application/vnd.kubernetes.protobuf;stream=watch, a": {"a", "a"},
		"text/plain": {"text/plain", "text/plain"},
	} {
		for i, masked := range []bool{false, true} {
			header := http.Header{"Accept": {accept}}
			narrow(header, masked)
			if got := header.Get("Accept"); got != want[i] {
				t.Errorf("%s becomes %s, want %s", accept, got, want[i])
			}
		}
	}
}
