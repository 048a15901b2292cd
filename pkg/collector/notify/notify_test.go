package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/notify"
)

var (
	here   = notify.Guard{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	key    = []byte("0123456789abcdef0123456789abcdef")
	secret = "whsec_" + base64.StdEncoding.EncodeToString(key)
)

func message() notify.Message {
	return notify.Message{
		ID: "approval-a-1", Number: 7, State: "pending", At: time.Now(), Resource: "shop-db", Rule: "schema-changes", Reason: "ask <!channel>",
		Text: "ALTER TABLE\r\nBcc: all@example.com", Until: time.Now().Add(time.Minute), Link: "https://sluice.example/approvals/7",
	}
}

// received is what came to a server.
type received struct {
	header http.Header
	body   []byte
}

func receiver(t *testing.T, status int) (url string, got chan received) {
	t.Helper()
	got = make(chan received, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.Header, body}
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	return server.URL, got
}

func TestWebhookIsACloudEventWithTheStandardSignature(t *testing.T) {
	url, got := receiver(t, http.StatusNoContent)
	hook, err := notify.NewWebhook(url, "https://sluice.example", secret, here)
	if err != nil {
		t.Fatal(err)
	}
	if err := hook.Take(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	r := <-got
	var event struct {
		SpecVersion, ID, Source, Type, Subject string
		Data                                   struct {
			Number uint64
			Link   string
		}
	}
	if err := json.Unmarshal(r.body, &event); err != nil {
		t.Fatal(err)
	}
	if event.SpecVersion != "1.0" || event.ID != "approval-a-1" || event.Type != "dev.sluicegate.approval.requested" || event.Subject != "7" || event.Data.Number != 7 {
		t.Errorf("event %s", r.body)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.header.Get("webhook-id") + "." + r.header.Get("webhook-timestamp") + "." + string(r.body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.header.Get("webhook-signature") != want || r.header.Get("webhook-id") != event.ID {
		t.Errorf("signature %s, want %s", r.header.Get("webhook-signature"), want)
	}
	if !strings.HasPrefix(r.header.Get("Content-Type"), "application/cloudevents+json") {
		t.Errorf("content type %s", r.header.Get("Content-Type"))
	}
}

func TestSecretThatIsNoneIsRefused(t *testing.T) {
	for _, bad := range []string{"", "whsec_", "whsec_!!", base64.StdEncoding.EncodeToString(key), "whsec_" + base64.StdEncoding.EncodeToString(key[:8])} {
		if _, err := notify.NewWebhook("https://x.example", "s", bad, here); err == nil {
			t.Errorf("taken: %q", bad)
		}
	}
}

func TestNothingPrivateIsReached(t *testing.T) {
	url, got := receiver(t, http.StatusOK)
	for _, guard := range []notify.Guard{{}, {Private: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}} {
		hook, err := notify.NewWebhook(url, "s", secret, guard)
		if err != nil {
			t.Fatal(err)
		}
		if err := hook.Take(t.Context(), message()); !errors.Is(err, notify.ErrPrivate) {
			t.Errorf("a hook to this machine: %v", err)
		}
	}
	for _, address := range []string{
		"localhost:1", "0.0.0.0:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "169.254.169.254:80", "10.0.0.1:1", "100.64.0.1:1", "[fe80::1]:1", "[fd00::1]:1",
		"[64:ff9b::a00:1]:1", "[2002:7f00:1::]:1", "224.0.0.1:1",
	} {
		hook, err := notify.NewWebhook("http://"+address+"/", "s", secret, notify.Guard{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := hook.Take(ctx, message()); !errors.Is(err, notify.ErrPrivate) {
			t.Errorf("%s: %v", address, err)
		}
		cancel()
	}
	if len(got) > 0 {
		t.Error("the server was asked")
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	inner, got := receiver(t, http.StatusOK)
	server := httptest.NewServer(http.RedirectHandler(inner, http.StatusTemporaryRedirect))
	t.Cleanup(server.Close)
	hook, err := notify.NewWebhook(server.URL, "s", secret, here)
	if err != nil {
		t.Fatal(err)
	}
	if err := hook.Take(t.Context(), message()); err == nil || len(got) > 0 {
		t.Errorf("a redirect: %v, and %d requests behind it", err, len(got))
	}
}

func TestChatCannotBeMadeToMention(t *testing.T) {
	url, got := receiver(t, http.StatusOK)
	if err := notify.NewChat(url, here).Take(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	var said struct{ Text string }
	if err := json.Unmarshal((<-got).body, &said); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(said.Text, "<!channel>") || !strings.Contains(said.Text, "&lt;!channel&gt;") || !strings.Contains(said.Text, "<https://sluice.example/approvals/7|") {
		t.Errorf("%q", said.Text)
	}
}

func TestChatShowsTheWholeTextOrSaysThatItDoesNot(t *testing.T) {
	url, got := receiver(t, http.StatusOK)
	chat, m := notify.NewChat(url, here), message()
	for text, want := range map[string]string{
		"DROP TABLE t;\nSELECT 1": "```\nDROP TABLE t;\nSELECT 1\n```\n",
		"```@channel":             "```\nˋˋˋ@channel\n```\n",
		"/*" + strings.Repeat("x", 20000) + "*/ DROP TABLE t": "```\n[only the first 3000 of 20017 characters are shown]\n/*x",
	} {
		m.Text = text
		if err := chat.Take(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		var said struct{ Text string }
		if err := json.Unmarshal((<-got).body, &said); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(said.Text, want) || len(said.Text) > 4000 {
			t.Errorf("%q, want %q", said.Text, want)
		}
	}
}

func TestMailGoesOutByTLSAlone(t *testing.T) {
	m := newMailServer(t)
	send := func(cfg notify.MailConfig) error {
		cfg.Server, cfg.From, cfg.To, cfg.Guard = m.address, "sluice@example.com", []string{"dba@example.com"}, here
		return notify.NewMail(cfg).Take(t.Context(), message())
	}
	roots := x509.NewCertPool()
	roots.AddCert(m.certificate)
	if err := send(notify.MailConfig{Authority: roots}); err != nil {
		t.Fatal(err)
	}
	letter := <-m.letters
	if !strings.Contains(letter, "Subject: Approval #7 is asked for") || !strings.Contains(letter, "https://sluice.example/approvals/7") {
		t.Errorf("letter %s", letter)
	}
	head, _, _ := strings.Cut(letter, "\r\n\r\n")
	if strings.Contains(head, "Bcc") {
		t.Errorf("a job wrote a header: %s", head)
	}
	if err := send(notify.MailConfig{}); err == nil {
		t.Error("a certificate that nobody knows is taken")
	}
	m.plain.Store(true)
	if err := send(notify.MailConfig{Authority: roots}); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("without TLS: %v", err)
	}
}
