package web_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// TestWhatServersReadDifferentlyIsNotUnderstood: policy refuses it where a rule
// reads the request.
func TestWhatServersReadDifferentlyIsNotUnderstood(t *testing.T) {
	const js, form = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"
	both(t, func(t *testing.T, http2 bool) {
		w := serve(t, echo, nil)
		client := w.client(t, http2)
		for _, test := range []struct {
			method, target, body string
			parsed               bool
			fields               []string
		}{
			{"GET", "/v1/a", "", true, nil},
			{"GET", "/v1/caf%C3%A9/b%20c?q=%C3%A9&x=a%2Fb", "", true, nil},
			{"GET", "/v1//a", "", false, nil},
			{"GET", "/v1/../admin", "", false, nil},
			{"GET", "/v1/%2e%2e/admin", "", false, nil},
			{"GET", "/v1/a%2fb", "", false, nil},
			{"GET", "/v1/a%5cb", "", false, nil},
			{"GET", "/admin;x=1/a", "", false, nil},
			{"GET", "/%61dmin", "", false, nil},
			{"GET", "/v1/a%00.png", "", false, nil},
			{"GET", "/v1/a%ff", "", false, nil},
			{"GET", "/v1/a%252e", "", false, nil},
			{"GET", "/v1/%ef%bd%81dmin", "", false, nil},
			{"GET", "/v1/a?f%6frce=1", "", false, nil},
			{"GET", "/v1/a?a=1;b=2", "", false, nil},
			{"POST", "/v1/a?_method=DELETE", "", false, nil},
			{"POST", "/v1/a", "_method=DELETE", false, []string{form}},
			{"POST", "/v1/a", "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--\r\n", false, []string{"Content-Type: multipart/form-data; boundary=x"}},
			{"POST", "/v1/a", "a=b&c=%C3%A9+d", true, []string{form}},
			{"POST", "/v1/a", "f%6frce=1", false, []string{form}},
			{"POST", "/v1/a", "f%6frce=1", false, nil},
			{"POST", "/v1/a", `{"a":"b","c":"caf\u00e9 \u003c\n\"\\u0061"}`, true, []string{js}},
			{"POST", "/v1/a", `{"\u0066orce":true}`, false, []string{js}},
			{"POST", "/v1/a", `{"a":"\\\u0066orce"}`, false, []string{js}},
			{"POST", "/v1/a", `{"\u0066orce":true}`, false, []string{"Content-Type: text/plain"}},
			{"POST", "/v1/a", "\xef\xbb\xbf  {\"\\u0066orce\":true}", false, nil},
			{"POST", "/v1/a", `{"a":`, false, []string{js}},
			{"POST", "/v1/a", "{\"a\":\"\xff\"}", false, []string{js}},
			{"POST", "/v1/a", "{\x00\"\x00a\x00", false, []string{js + "; charset=utf-16le"}},
			{"POST", "/v1/a", "\x1f\x8b\x08\x00%61", true, []string{"Content-Type: application/octet-stream"}},
			{"PUT", "/v1/a.jar", "PK\x03\x04", true, []string{"Content-Type: application/java-archive"}},
		} {
			before := len(w.journal.Requests())
			got := do(t, client, test.method, test.target, test.body, test.fields...)
			all := w.journal.Requests()
			if got.err != nil || got.status != 200 || len(all) != before+1 {
				t.Errorf("%s %s %q: %+v", test.method, test.target, test.body, got)
				continue
			}
			op := all[before].Op
			if op.Parsed != test.parsed || op.ReadOnly != (test.parsed && test.method == "GET") {
				t.Errorf("%s %s %q: parsed %v, read-only %v", test.method, test.target, test.body, op.Parsed, op.ReadOnly)
			}
			if want := fmt.Sprintf("%s %s %s", test.method, test.target, test.body); got.body != want {
				t.Errorf("the server got %q, not %q", got.body, want)
			}
		}
	})
}

// TestFieldsThatMisleadStay away from the server: logins, claims of proxies,
// other methods and paths, whatever case or dashes they have.
func TestFieldsThatMisleadStay(t *testing.T) {
	fields := []string{
		"Authorization: Bearer " + jobToken, "Cookie: a=" + jobToken, "Proxy-Authorization: Basic " + jobToken, "X-Api-Key: " + jobToken, "x-api-key: " + jobToken,
		"X_api_key: " + jobToken, "Api-Key: " + jobToken, "Private-Token: " + jobToken, "Job-Token: " + jobToken, "X-Auth-Token: " + jobToken,
		"X-Vault-Token: " + jobToken, "X-Amz-Security-Token: " + jobToken, "Ocp-Apim-Subscription-Key: " + jobToken, "X-Auth-Key: " + jobToken, "Dd-Api-Key: " + jobToken,
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-User: admin", "X_Forwarded_Host: admin", "Forwarded: for=admin", "Via: admin", "X-Real-Ip: 127.0.0.1",
		"X-Http-Method-Override: DELETE", "X-Http-Method: DELETE", "X-Method-Override: DELETE", "X_http_method_override: DELETE",
		"X-Original-Url: /admin", "X-Rewrite-Url: /admin", "X-Original-Host: admin", "Remote-User: admin", "X-Remote-User: admin", "X-Webauth-User: admin",
		"X-Ssl-Client-Verify: admin", "X-Amzn-Oidc-Data: admin", "Cf-Connecting-Ip: admin", "True-Client-Ip: admin", "X-User: admin",
		"Range: bytes=0-1", "If-Range: admin", "Connection: X-Mine", "X-Mine: admin",
	}
	both(t, func(t *testing.T, http2 bool) {
		w := serve(t, echo, func(c *protocol.Conn) {
			c.Credential = protocol.Credential{User: "agent", Token: agentToken, Header: "X-Shop-Id"}
		})
		sent := append([]string{"X-Kept: 1", "X-Shop-Id: of the job", "X_shop_id: of the job", "If-Match: \"v1\"", "Traceparent: 00-1", "Origin: https://a"}, fields...)
		if http2 { // which has no Connection
			sent = sent[:len(sent)-2]
		}
		got := do(t, w.client(t, http2), "PUT", "/v1/a", "x", sent...)
		if got.status != 200 {
			t.Fatalf("%+v", got)
		}
		at := w.requests()[0]
		text := fmt.Sprint(at.Header)
		for _, never := range []string{jobToken, "admin", "DELETE", "127.0.0.1", "of the job", "bytes="} {
			if strings.Contains(text, never) {
				t.Errorf("the server got %q in %s", never, text)
			}
		}
		for name, want := range map[string]string{"X-Kept": "1", "X-Shop-Id": agentToken, "If-Match": `"v1"`, "Traceparent": "00-1", "Origin": "https://a", "Accept-Encoding": "identity"} {
			if at.Header.Get(name) != want {
				t.Errorf("%s is %q", name, at.Header.Get(name))
			}
		}
		w.nowhere(t, jobToken, agentToken, "of the job")
	})
}

func TestCredentialInAQueryIsRefusedAndNotKept(t *testing.T) {
	w := serve(t, echo, nil)
	client := w.client(t, true)
	for _, query := range []string{"access_token=", "a=b&api_key=", "API-Key=", "private%5Ftoken=", "a;jwt="} {
		if got := do(t, client, "GET", "/v1/a?"+query+jobToken, ""); got.status != 400 || !strings.Contains(got.body, "the agent logs in") {
			t.Errorf("%s: %+v", query, got)
		}
	}
	w.nowhere(t, jobToken)
	if len(w.requests()) != 0 || len(w.journal.Requests()) != 5 {
		t.Errorf("%d reached the server, %d were recorded", len(w.requests()), len(w.journal.Requests()))
	}
	if got := do(t, client, "GET", "/v1/a?page_token=7&key=v&token_type=x", ""); got.status != 200 {
		t.Errorf("%+v", got)
	}
}

// TestOtherHostsAreNotAskedFor by a Host, an authority or a target that names
// one.
func TestOtherHostsAreNotAskedFor(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }, nil)
	both(t, func(t *testing.T, http2 bool) {
		client := w.client(t, http2)
		for name, want := range map[string]int{
			host: 200, strings.ToUpper(host): 200, host + ":1": 200, "127.0.0.1": 200, "other.example": 421, host + ".": 421, "a." + host: 421, "user@" + host: 421, "localhost": 421,
		} {
			got := do(t, client, "GET", "/", "", "Host: "+name)
			if got.status != want && got.err == nil && got.status != 400 {
				t.Errorf("%s: %+v", name, got)
			}
			if asked, _, _ := strings.Cut(got.body, ":"); got.status == 200 && asked != host && asked != "127.0.0.1" || strings.HasSuffix(got.body, ":1") {
				t.Errorf("%s: the server was asked for %s", name, got.body)
			}
		}
	})
	for request, want := range map[string]string{
		"GET https://other.example/ HTTP/1.1\r\nHost: " + host + "\r\n\r\n":   "400",
		"GET / HTTP/1.1\r\nHost: " + host + "\r\nHost: other.example\r\n\r\n": "400",
		"GET / HTTP/1.0\r\n\r\n": "421",
		"CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n":                               "405",
		"TRACE / HTTP/1.1\r\nHost: " + host + "\r\n\r\n":                                                      "405",
		"GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n":           "501",
		"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Type: a/b; ;\r\nContent-Length: 1\r\n\r\nx":         "400",
		"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx":       "415",
		"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nTransfer-Encoding: gzip\r\n\r\nx":      "400",
		"GET /\\admin HTTP/1.1\r\nHost: " + host + "\r\n\r\n":                                                 "400",
		"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-A: b\x00c\r\n\r\n":                                         "400",
		"POST / HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Late: 1\r\n\r\n":   "400",
		"POST / HTTP/1.1\r\nHost: " + host + "\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n":    "400",
		"POST / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx":           "400",
		"DELETE / HTTP/1.1\r\nHost: " + host + "\r\nContent-Length: 5000000\r\n\r\n":                          "413",
		"GET / HTTP/1.1\r\nHost: " + host + "\r\nX-Long: " + strings.Repeat("y", 1<<17) + "\r\n\r\n":          "431",
		"GET / HTTP/1.1\r\nHost: " + host + "\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\n": "200",
	} {
		if got := w.raw(t, request); !strings.HasPrefix(got, want) {
			t.Errorf("%.80q is answered %q", request, got)
		}
	}
}

// TestAuthorityAndHostAgree where HTTP/2 has both.
func TestAuthorityAndHostAgree(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }, nil)
	for _, test := range []struct {
		fields [][2]string
		want   string
	}{
		{[][2]string{{":authority", host}}, "200"},
		{[][2]string{{":authority", host}, {"host", host}}, "200"},
		{[][2]string{{"host", host}}, "200"},
		{[][2]string{{":authority", host}, {"host", "other.example"}}, "400"},
		{[][2]string{{":authority", "other.example"}, {"host", host}}, "4"},
		{[][2]string{{"host", "other.example"}}, "421"},
	} {
		if got := w.frames(t, test.fields); !strings.HasPrefix(got, test.want) {
			t.Errorf("%v is answered %s", test.fields, got)
		}
	}
	for _, r := range w.requests() {
		if name, _, _ := strings.Cut(r.Host, ":"); name != host {
			t.Errorf("the server was asked for %q", r.Host)
		}
	}
}

// frames sends a request over HTTP/2 and returns the status of its answer.
func (w *world) frames(t *testing.T, fields [][2]string) (status string) {
	t.Helper()
	conn, err := tls.Dial("tcp", w.address, &tls.Config{RootCAs: w.roots, ServerName: host, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(soon))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range append([][2]string{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}}, fields...) {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true})
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return "4 " + frame.ErrCode.String()
		}
	}
}

// TestServersCookiesAndRedirectsStayWithTheirLogin: a cookie that the agent's
// login earned is a login, and elsewhere the agent logs in nowhere.
func TestServersCookiesAndRedirectsStayWithTheirLogin(t *testing.T) {
	other := make(chan http.Header, 1)
	both(t, func(t *testing.T, http2 bool) {
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/elsewhere" {
				other <- r.Header
			}
			w.Header().Set("Set-Cookie", "session=of-the-agent")
			w.Header().Set("Www-Authenticate", "Bearer")
			w.Header().Set("Alt-Svc", `h3=":443"`)
			http.Redirect(w, r, "https://other.example/elsewhere", http.StatusFound)
		}, nil)
		got := do(t, w.client(t, http2), "GET", "/v1/a", "")
		if got.status != 302 || got.header.Get("Location") != "https://other.example/elsewhere" {
			t.Errorf("%+v", got)
		}
		for _, name := range []string{"Set-Cookie", "Www-Authenticate", "Alt-Svc"} {
			if got.header.Get(name) != "" {
				t.Errorf("%s: %s", name, got.header.Get(name))
			}
		}
		w.nowhere(t, "of-the-agent")
	})
	if len(other) != 0 {
		t.Error("the agent followed the redirect")
	}
}

// TestLoginIsNotReflected by an echo of each form that a login has, whole and in
// pieces, nor in the half of it that a range would cut out.
func TestLoginIsNotReflected(t *testing.T) {
	for name, login := range map[string]protocol.Credential{
		"bearer": {User: "agent", Token: agentToken},
		"field":  {User: "agent", Token: agentToken, Header: "X-Api-Key"},
		"basic":  {User: "agent", Password: agentToken},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, http2 bool) {
				w := serve(t, func(w http.ResponseWriter, r *http.Request) {
					user, password, _ := r.BasicAuth()
					text := fmt.Sprintf("%s %s %v", user, password, r.Header)
					if !strings.Contains(text, agentToken) && password != agentToken {
						t.Errorf("it logged in with %v", r.Header)
					}
					w.Header().Set("X-Echo", text)
					if r.URL.Path == "/error" {
						http.Error(w, text, http.StatusInternalServerError)
						return
					}
					http.ServeContent(w, r, "echo.txt", time.Time{}, strings.NewReader(text))
				}, func(c *protocol.Conn) { c.Credential = login })
				client := w.client(t, http2)
				var seen string
				for at := range 120 {
					got := do(t, client, "GET", "/echo", "", fmt.Sprintf("Range: bytes=%d-%d", at, at))
					if seen += got.body; got.status == 206 {
						t.Fatal("a part is shown")
					}
				}
				got := do(t, client, "GET", "/error", "")
				seen += got.body + fmt.Sprint(got.header)
				if strings.Contains(seen, agentToken) || strings.Contains(seen, "YWdlbnQ6dGhlLWFnZW50cy1vd24tdG9rZW4=") || !strings.Contains(seen, "****") {
					t.Errorf("the client saw %.1000q", seen)
				}
				w.nowhere(t, agentToken, "YWdlbnQ6dGhlLWFnZW50cy1vd24tdG9rZW4=")
			})
		})
	}
}
