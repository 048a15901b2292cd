package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"
)

// maxDocument bounds what an issuer answers, in bytes.
const maxDocument = 1 << 20

// maxHeader bounds the head of an issuer's answer, in bytes.
const maxHeader = 64 << 10

// Dialer opens a connection, as net.Dialer.DialContext does.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// newClient returns a client that speaks TLS to servers under the roots of
// caFile, or the system's when it is empty, and takes at most within for an
// answer.
func newClient(caFile string, within time.Duration, dial Dialer) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read ca_file: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read ca_file: %s holds no certificate", caFile)
		}
	}
	return &http.Client{
		Transport: careful{&http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dial,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    within,
			IdleConnTimeout:        time.Minute,
			MaxIdleConns:           2,
			MaxResponseHeaderBytes: maxHeader,
		}},
		Timeout:       within,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("an issuer must not redirect") },
	}, nil
}

// careful refuses what an issuer's documents could lead to: plain HTTP, and
// answers without end.
type careful struct{ transport *http.Transport }

// RoundTrip sends a request to an address that checkURL allows.
func (c careful) RoundTrip(request *http.Request) (*http.Response, error) {
	if err := checkURL(request.URL.String()); err != nil {
		return nil, err
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(response.Body, maxDocument), response.Body}
	return response, nil
}

// checkURL wants https, or http to this very machine.
func checkURL(text string) error {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Host == "" || parsed.User != nil {
		return errors.New("it is not a URL")
	}
	loopback := net.ParseIP(parsed.Hostname()).IsLoopback() || parsed.Hostname() == "localhost"
	if parsed.Scheme != "https" && (parsed.Scheme != "http" || !loopback) {
		return errors.New("it must begin with https://")
	}
	return nil
}
