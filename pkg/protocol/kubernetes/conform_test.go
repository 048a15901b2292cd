package kubernetes

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	sessions "github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/trust"
)

// authority signs what jobs are shown.
func authority(t *testing.T) (signs *trust.Authority, certificate []byte) {
	t.Helper()
	bounds := trust.Constraints{Names: []string{"kube.example"}, Prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
	certificate, key, err := trust.New(bounds, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if signs, err = trust.Load(certificate, key); err != nil {
		t.Fatal(err)
	}
	return signs, certificate
}

func TestKubernetesKeepsWhatEveryPluginPromises(t *testing.T) {
	signs, _ := authority(t)
	protocoltest.Conform(t, protocoltest.Plugin{
		New:   func() (protocol.Protocol, error) { return New(Options{}) },
		Opens: []string{"tls", "http"},
		Conn: func(c *protocol.Conn) {
			c.ClientTLS = signs.Config([]string{"kube.example"}, netip.MustParseAddr("127.0.0.1"))
		},
	})
}

func TestKubernetesPassesAllThatIsObserved(t *testing.T) {
	plugin, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	protocoltest.Observes(t, plugin)
}

func TestRecognizesEveryMethodAndThePreface(t *testing.T) {
	plugin, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, opening := range []string{
		"GET / HTTP/1.1\r\n", "HEAD / HTTP/1.1\r\n", "POST / HTTP/1.1\r\n", "PUT / HTTP/1.1\r\n", "PATCH / HTTP/1.1\r\n", "DELETE / HTTP/1.1\r\n",
		"OPTIONS * HTTP/1.1\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "\x16\x03\x03\x00\x7a\x01",
	} {
		if got := plugin.Recognize([]byte(opening)); got != protocol.Yes {
			t.Errorf("%q gave %v", opening, got)
		}
		for n := range 3 {
			if got := plugin.Recognize([]byte(opening[:n])); got == protocol.No {
				t.Errorf("%q gave %v", opening[:n], got)
			}
		}
	}
	for _, other := range []string{"GETS", "get / HTTP/1.1", "\x16\x02\x00", "\x17\x03\x03", "\x80\x2e\x01\x03", "Q\x00"} {
		if got := plugin.Recognize([]byte(other)); got != protocol.No {
			t.Errorf("%q gave %v", other, got)
		}
	}
}

func FuzzRecognizeKeepsItsWord(f *testing.F) {
	plugin, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("PRI * HTTP/2.0"))
	f.Add([]byte("\x16\x03\x01"))
	f.Fuzz(func(t *testing.T, prefix []byte) {
		said := plugin.Recognize(prefix)
		if said != protocol.NeedMore && plugin.Recognize(append(bytes.Clone(prefix), 'x')) != said {
			t.Errorf("%q is taken back", prefix)
		}
	})
}

func TestWhatCannotBeHonouredIsAnError(t *testing.T) {
	plugin, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for want, conn := range map[string]*protocol.Conn{
		"trust.ca_file is missing": {Masks: &mask.Set{}},
		"has no columns":           {Masks: &mask.Set{Columns: []mask.Column{{Mask: "pii"}}}, ClientTLS: &tls.Config{}},
	} {
		conn.Session = &sessions.Session{}
		if err := plugin.Serve(t.Context(), conn); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
