package collector_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/record"
)

func TestForwarderThatCannotWorkIsNamed(t *testing.T) {
	const file = `forward:
  otlp:
    - {name: a, url: "http://192.0.2.1:4318"}
    - {name: a, url: "ftp://x"}
    - {name: b, url: "https://u:p@otel.example"}
    - {name: c, url: "https://otel.example", cert_file: c.pem}
    - {name: d, url: "http://127.0.0.1:4318", ca_file: ca.pem}
  syslog:
    - {name: b, address: ":6514"}
    - {name: "", address: "siem.example:6514"}
    - {name: f, address: "siem.example:514", plain_text: true, ca_file: ca.pem}
`
	_, err := config.Parse[collector.Config]("c.yaml", []byte(file))
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, want := range []string{
		"c.yaml:3:7: forward.otlp[0]:", "forward.otlp[1].name:", "forward.otlp[1].url:", "forward.otlp[2].url:", "forward.otlp[3].cert_file:",
		"forward.otlp[4]:", "forward.syslog[0].name:", "forward.syslog[0].address:", "forward.syslog[1].name:", "forward.syslog[2]:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no word of %s in:\n%v", want, err)
		}
	}
}

func TestForwarderThatCanWorkIsTaken(t *testing.T) {
	const file = `forward:
  otlp:
    - {name: a, url: "https://otel.example", headers_file: h, ca_file: ca.pem, texts: true}
    - {name: b, url: "http://[::1]:4318/v1/logs"}
    - {name: c, url: "http://192.0.2.1:4318", plain_text: true}
  syslog:
    - {name: d, address: "siem.example:6514", cert_file: c, key_file: k}
    - {name: e, address: "192.0.2.1:514", plain_text: true}
`
	cfg, err := config.Parse[collector.Config]("c.yaml", []byte(file))
	check(t, err)
	if o := cfg.Forward.OTLP[0]; !o.Texts || o.CAFile == "" || o.HeadersFile == "" {
		t.Errorf("it is read as %+v", o)
	}
}

// TestRecordsGoToBothKindsOfReceiver runs a collector with an OTLP and a
// syslog receiver. What the first one wants of its caller comes from a file.
func TestRecordsGoToBothKindsOfReceiver(t *testing.T) {
	s := newSite(t)
	s.stop()
	posted := make(chan http.Header, 64)
	lake := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { posted <- r.Header }))
	defer lake.Close()
	siem, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer siem.Close()
	heard := make(chan string, 64)
	go func() {
		conn, err := siem.Accept()
		if err != nil {
			return
		}
		buffer := make([]byte, 64<<10)
		for {
			n, err := conn.Read(buffer)
			if err != nil {
				return
			}
			heard <- string(buffer[:n])
		}
	}()
	check(t, os.WriteFile(s.path("headers"), []byte("Authorization: Bearer abc\nX-Scope: audit\n"), 0o600))
	s.cfg.Forward.OTLP = []collector.ForwardOTLP{{Name: "lake", URL: lake.URL, HeadersFile: config.Path(s.path("headers"))}}
	s.cfg.Forward.Syslog = []collector.ForwardSyslog{{Name: "siem", Address: siem.Addr().String(), PlainText: true}}
	s.start()
	check(t, s.agent().Alert(record.Alert{Kind: "backstop-drop", Count: 1}))

	timeout := time.After(30 * time.Second)
	var all strings.Builder
	for !strings.Contains(all.String(), "|agent.alert|") {
		select {
		case text := <-heard:
			all.WriteString(text)
		case <-timeout:
			t.Fatalf("syslog got %q", all.String())
		}
	}
	select {
	case header := <-posted:
		if header.Get("Authorization") != "Bearer abc" || header.Get("X-Scope") != "audit" {
			t.Errorf("posted with %v", header)
		}
	case <-timeout:
		t.Fatal("nothing was posted")
	}
}

func TestFileThatIsNoListOfHeadersIsRefused(t *testing.T) {
	s := newSite(t)
	s.stop()
	check(t, os.WriteFile(s.path("headers"), []byte("a-secret-without-a-name\n"), 0o600))
	s.cfg.Forward.OTLP = []collector.ForwardOTLP{{Name: "lake", URL: "https://otel.example", HeadersFile: config.Path(s.path("headers"))}}
	c, err := collector.Open(t.Context(), s.cfg, zap.NewNop())
	if err == nil {
		check(t, c.Close())
		t.Fatal("it was taken")
	}
	if strings.Contains(err.Error(), "a-secret") {
		t.Errorf("the error quotes the file: %v", err)
	}
}
