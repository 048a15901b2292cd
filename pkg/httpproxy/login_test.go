package httpproxy

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/protocol"
)

func authorized(t *testing.T, l *Login) http.Header {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, "https://server.example/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer theirs")
	l.Authenticate(t.Context(), r)
	return r.Header
}

func TestCredentialIsReadAgainWhileASessionGoesOn(t *testing.T) {
	next, reads := "second", 0
	var fails error
	l := NewLogin(&protocol.Conn{
		Credential: protocol.Credential{Token: "first"}, Log: zap.NewNop(),
		Login: func(context.Context) (protocol.Credential, error) {
			reads++
			return protocol.Credential{Token: next}, fails
		},
	})
	current := func() string { return strings.TrimPrefix(authorized(t, l).Get("Authorization"), "Bearer ") }
	if got := current(); got != "first" || reads != 0 {
		t.Errorf("at first %s, after %d reads", got, reads)
	}
	l.read = l.read.Add(-loginAge)
	for range 3 {
		if got := current(); got != "second" || reads != 1 {
			t.Errorf("then %s, after %d reads", got, reads)
		}
	}
	fails, l.read = errors.New("gone"), time.Time{}
	if got := current(); got != "second" || reads != 2 {
		t.Errorf("without its file %s, after %d reads", got, reads)
	}
	fails, next, l.read = nil, "", time.Time{}
	if got := current(); got != "second" || reads != 3 {
		t.Errorf("with an empty file %s, after %d reads", got, reads)
	}
}

func TestLoginStandsInItsField(t *testing.T) {
	for want, login := range map[string]protocol.Credential{
		"Authorization: Bearer tok":     {User: "u", Token: "tok"},
		"X-Api-Key: tok":                {User: "u", Token: "tok", Header: "x-api-key"},
		"Authorization: Basic dTpwYXNz": {User: "u", Password: "pass"},
		"":                              {User: "u", Certificate: []byte("c"), Key: []byte("k")},
	} {
		var got []string
		for name, values := range authorized(t, NewLogin(&protocol.Conn{Credential: login})) {
			got = append(got, name+": "+strings.Join(values, ","))
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// spellings are the ways in which servers write a secret into an answer.
func spellings(secret string) []string {
	letters := func(format string) string {
		var text strings.Builder
		for _, c := range []byte(secret) {
			fmt.Fprintf(&text, format, c)
		}
		return text.String()
	}
	return []string{
		secret, fmt.Sprintf("%q", secret), url.QueryEscape(secret), url.PathEscape(secret), html.EscapeString(secret),
		strings.ReplaceAll(secret, "/", `\/`), letters(`\u%04x`), letters(`\u%04X`), letters("%%%02X"), letters("%%%02x"), letters("&#%d;"), letters("&#x%x;"),
	}
}

func TestSecretIsHiddenHoweverItsLettersAreWritten(t *testing.T) {
	for _, secret := range []string{"abcdefgh", "s3cr3t+/with=%25&\"'<", "aaaaaaaab", base64.StdEncoding.EncodeToString([]byte("app:s3cr3t+/w?>"))} {
		hides := newSecretive([][]byte{[]byte("another-one"), []byte(secret)})
		for _, spelled := range spellings(secret) {
			text := `a%2aa\n{"x":"` + spelled + `aaaa","y":"` + spelled[:len(spelled)-1] + "\"} &\\%" + spelled
			for name, reader := range map[string]io.Reader{
				"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text)),
				"by halves": iotest.HalfReader(strings.NewReader(text)), "with its end": iotest.DataErrReader(strings.NewReader(text)),
			} {
				got, err := io.ReadAll(hides.body(io.NopCloser(reader)))
				if err != nil || len(got) != len(text) || bytes.Contains(got, []byte(spelled)) {
					t.Errorf("%s, %s: %q %v", secret, name, got, err)
				}
				if !bytes.HasPrefix(bytes.Replace(got, []byte(`""`), []byte(`"`), 1), []byte(`a%2aa\n{"x":"*`)) || !bytes.HasSuffix(bytes.TrimRight(got, `"`), []byte(`*`)) || !bytes.Contains(got, []byte(`aaaa","y":"`)) {
					t.Errorf("%s, %s: %q", secret, name, got)
				}
			}
		}
	}
}

func TestHalfASecretIsNotShownWhereTheAnswerBreaksOff(t *testing.T) {
	hides := newSecretive([][]byte{[]byte("abcdefgh")})
	got, err := io.ReadAll(hides.body(io.NopCloser(io.MultiReader(strings.NewReader("xx abcdefg"), iotest.ErrReader(io.ErrUnexpectedEOF)))))
	if !errors.Is(err, io.ErrUnexpectedEOF) || string(got) != "xx " {
		t.Errorf("%q %v", got, err)
	}
}

// TestServerThatEchoesTheLoginIsNotBelievedToTheClient has one that shows all
// that it got, as debugging pages do.
func TestServerThatEchoesTheLoginShowsStars(t *testing.T) {
	const token = "the-agents-own-token"
	both(t, func(t *testing.T, http2 bool) {
		r := newRig(t, func(w http.ResponseWriter, r *http.Request) {
			sent := r.Header.Get("Authorization")
			if sent != "Bearer "+token {
				t.Errorf("logged in with %q", sent)
			}
			w.Header().Set("X-Echo", sent)
			w.Header().Set("X-"+token, "there")
			w.Header().Set("Location", "https://other.example/?t="+url.QueryEscape(token))
			if r.URL.Path == "/zip" {
				w.Header().Set("Content-Encoding", "gzip")
			}
			for i := range len(sent) {
				_, _ = w.Write([]byte(sent[i : i+1]))
				if r.URL.Path == "/stream" {
					w.(http.Flusher).Flush()
				}
			}
		})
		r.conn = func(c *protocol.Conn) { c.Credential = protocol.Credential{User: "agent", Token: token} }
		r.login = true
		client := r.client(t, http2)
		for path, want := range map[string]int{"/": 200, "/stream": 200, "/zip": 502} {
			status, header, text, err := do(t, client, "GET", path, "")
			if err != nil || status != want || want == 200 && text != "Bearer "+strings.Repeat("*", len(token)) {
				t.Errorf("%s: %d %q %v", path, status, text, err)
			}
			if all := fmt.Sprint(header); strings.Contains(strings.ToLower(all), token) || want == 200 && header.Get("X-Echo") == "" {
				t.Errorf("%s: %s", path, all)
			}
		}
		for _, e := range r.journal.Entries() {
			if all := e.Text + fmt.Sprint(e.Streams); strings.Contains(all, token) {
				t.Errorf("recorded %q", all)
			}
		}
	})
}

func BenchmarkSecretsAreLookedFor(b *testing.B) {
	hides := newSecretive([][]byte{[]byte("eyJhbGciOiJFUzI1NiJ9.the.token-of-an-agent")})
	text := bytes.Repeat([]byte(`{"name":"Ada Example","email":"ada@example.com","note":"a \"quoted\" word"},`), 400)
	b.SetBytes(int64(len(text)))
	for range b.N {
		hides.hide(text, true)
	}
}
