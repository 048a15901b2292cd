package collector

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"os"
	"strings"

	"github.com/sluicegate/sluice/pkg/collector/forward"
	"github.com/sluicegate/sluice/pkg/config"
)

// Forward says where records are sent as they are stored. A receiver that is
// new gets what is stored from then on; its place in the log is kept under its
// name.
type Forward struct {
	// OTLP receivers get OCSF events as logs, by OTLP over HTTP.
	OTLP []ForwardOTLP `yaml:"otlp"`
	// Syslog receivers get CEF in syslog messages over one TCP connection.
	Syslog []ForwardSyslog `yaml:"syslog"`
}

// ForwardOTLP is one receiver of logs.
type ForwardOTLP struct {
	Name string `yaml:"name"` // unique among all forwarders
	// URL is the receiver's address, https://otel.example.com:4318. Without a
	// path it gets /v1/logs.
	URL string `yaml:"url"`
	// HeadersFile holds headers, one a line, as in Authorization: Bearer abc. It
	// is a secret.
	HeadersFile config.Path `yaml:"headers_file"`
	// Texts sends what jobs wrote, masked as it is recorded: statements, command
	// lines, values. Default: false. What was sent cannot be shredded.
	Texts bool `yaml:"texts"`
	// CAFile holds the authorities for the receiver's certificate. Default: the
	// system's.
	CAFile config.Path `yaml:"ca_file"`
	// CertFile and KeyFile are what the collector shows the receiver.
	CertFile config.Path `yaml:"cert_file"`
	KeyFile  config.Path `yaml:"key_file"`
	// PlainText sends without TLS to an address other than loopback, where the
	// network itself is trusted.
	PlainText bool `yaml:"plain_text"`
}

func (o *ForwardOTLP) leg() *forwardLeg {
	return &forwardLeg{o.CAFile, o.CertFile, o.KeyFile, strings.HasPrefix(o.URL, "https:"), o.PlainText}
}

// ForwardSyslog is one receiver of syslog messages.
type ForwardSyslog struct {
	Name    string `yaml:"name"`    // unique among all forwarders
	Address string `yaml:"address"` // host:port
	// Texts sends what jobs wrote, as for otlp.
	Texts bool `yaml:"texts"`
	// CAFile holds the authorities for the receiver's certificate. Default: the
	// system's.
	CAFile config.Path `yaml:"ca_file"`
	// CertFile and KeyFile are what the collector shows the receiver.
	CertFile config.Path `yaml:"cert_file"`
	KeyFile  config.Path `yaml:"key_file"`
	// PlainText sends without TLS, where the network itself is trusted.
	PlainText bool `yaml:"plain_text"`
}

func (s *ForwardSyslog) leg() *forwardLeg {
	return &forwardLeg{s.CAFile, s.CertFile, s.KeyFile, !s.PlainText, s.PlainText}
}

// forwardLeg is how a receiver is spoken to.
type forwardLeg struct {
	ca, cert, key config.Path
	encrypted     bool
	plainText     bool // said in the configuration
}

func (f *Forward) validate(report config.Problems) {
	names := map[string]bool{}
	named := func(path, name string) {
		if name == "" || names[name] {
			report(path+".name", "%q is missing or used twice", name)
		}
		names[name] = true
	}
	for i := range f.OTLP {
		o, path := &f.OTLP[i], fmt.Sprintf("forward.otlp[%d]", i)
		named(path, o.Name)
		u, err := url.Parse(o.URL)
		if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
			report(path+".url", "is not a URL that begins with https://")
			continue
		}
		o.leg().validate(report, path, u.Hostname())
	}
	for i := range f.Syslog {
		s, path := &f.Syslog[i], fmt.Sprintf("forward.syslog[%d]", i)
		named(path, s.Name)
		host, _, err := net.SplitHostPort(s.Address)
		if err != nil || host == "" {
			report(path+".address", "is not host:port")
			continue
		}
		s.leg().validate(report, path, host)
	}
}

// validate reports options that do not fit each other or the receiver's host.
func (l *forwardLeg) validate(report config.Problems, path, host string) {
	if (l.cert == "") != (l.key == "") {
		report(path+".cert_file", "cert_file and key_file belong together: write both or neither")
	}
	if !l.encrypted && l.ca+l.cert != "" {
		report(path, "has certificates and no TLS: leave the ones out, or ask for the other")
	}
	address, err := netip.ParseAddr(host)
	if loopback := host == "localhost" || err == nil && address.IsLoopback(); !l.encrypted && !l.plainText && !loopback {
		report(path, "sends records readable to %s: write https://, or plain_text: true where the network is trusted", host)
	}
}

// tls returns the keys and authorities, nil where nothing is encrypted.
func (l *forwardLeg) tls() (*tls.Config, error) {
	if !l.encrypted {
		return nil, nil
	}
	return clientTLS(tls.VersionTLS12, l.ca, l.cert, l.key) // receivers are other people's
}

// openForwarders makes a sender for each receiver and sets its place in the
// log before anything new is stored.
func (c *Collector) openForwarders(ctx context.Context) error {
	for i := range c.cfg.Forward.OTLP {
		o := &c.cfg.Forward.OTLP[i]
		receiver, err := c.openOTLP(o)
		if err != nil {
			return fmt.Errorf("forward to %s: %w", o.Name, err)
		}
		c.addForwarder(o.Name, receiver, o.Texts)
	}
	for i := range c.cfg.Forward.Syslog {
		s := &c.cfg.Forward.Syslog[i]
		encrypted, err := s.leg().tls()
		if err != nil {
			return fmt.Errorf("forward to %s: %w", s.Name, err)
		}
		c.addForwarder(s.Name, forward.NewSyslog(s.Address, encrypted), s.Texts)
	}
	for _, f := range c.forwarders {
		if _, err := c.store.Forwarded(ctx, f.Name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Collector) openOTLP(o *ForwardOTLP) (*forward.OTLP, error) {
	encrypted, err := o.leg().tls()
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	if o.HeadersFile != "" {
		if header, err = readHeaders(o.HeadersFile); err != nil {
			return nil, err
		}
	}
	return forward.NewOTLP(forward.OTLPConfig{URL: o.URL, Header: header, TLS: encrypted, Log: c.log.Named("forward")})
}

func (c *Collector) addForwarder(name string, receiver forward.Receiver, texts bool) {
	c.forwarders = append(c.forwarders, &forward.Sender{
		Name: name, Receiver: receiver, Store: c.store, Texts: texts, Log: c.log.Named("forward"),
	})
}

// readHeaders reads a file of headers. Its errors do not quote it.
func readHeaders(path config.Path) (http.Header, error) {
	text, err := os.ReadFile(string(path))
	if err != nil {
		return nil, err
	}
	lines := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.TrimSpace(text), "\r\n\r\n"...))))
	header, err := lines.ReadMIMEHeader()
	if err != nil {
		return nil, fmt.Errorf("%s is not a list of headers", path)
	}
	for _, values := range header {
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				return nil, fmt.Errorf("%s is not a list of headers", path)
			}
		}
	}
	return http.Header(header), nil
}
