package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// client talks to the collector's API.
type client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// maxAnswer bounds one JSON answer, in bytes.
const maxAnswer = 64 << 20

func (e *env) client() (*client, error) {
	path, err := e.tokenFile()
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no token in %s: run sluice login", path)
	}
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	return e.connect(strings.TrimSpace(string(token)))
}

// connect makes a client that carries a token; none for what needs none.
func (e *env) connect(token string) (*client, error) {
	s := e.settings
	base, err := url.Parse(strings.TrimRight(s.Collector, "/"))
	if err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	if base.Scheme != "https" && !s.PlainText && !isLoopback(base.Hostname()) {
		return nil, fmt.Errorf("%s would carry your token readable: use https, or write plain_text: true in the configuration", s.Collector)
	}
	transport := &http.Transport{ResponseHeaderTimeout: time.Minute}
	if s.CAFile != "" {
		pem, err := os.ReadFile(string(s.CAFile))
		if err != nil {
			return nil, fmt.Errorf("read certificates: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", s.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots}
	}
	return &client{base: base, token: token, http: &http.Client{Transport: transport}}, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// get reads a JSON answer into into.
func (c *client) get(ctx context.Context, path string, query url.Values, into any) error {
	return c.call(ctx, http.MethodGet, path, query, nil, into)
}

// post sends body and reads a JSON answer into into.
func (c *client) post(ctx context.Context, path string, body []byte, into any) error {
	return c.call(ctx, http.MethodPost, path, nil, body, into)
}

func (c *client) call(ctx context.Context, method, path string, query url.Values, body []byte, into any) (err error) {
	answer, err := c.open(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, answer.Close()) }()
	if err := json.NewDecoder(io.LimitReader(answer, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("the collector's answer cannot be read: %w", err)
	}
	return nil
}

// open returns the body of an answer that is not a refusal. The caller closes
// it. Reports ask so often that the collector now and then has them wait.
func (c *client) open(ctx context.Context, method, path string, query url.Values, body []byte) (io.ReadCloser, error) {
	target := *c.base.JoinPath(path)
	target.RawQuery = query.Encode()
	answer, err := c.ask(ctx, method, target.String(), body)
	for tries := 1; err == nil && tries < maxTries && askedTooMuch(answer); tries++ {
		_ = answer.Body.Close()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Second):
		}
		answer, err = c.ask(ctx, method, target.String(), body)
	}
	if err != nil {
		return nil, err
	}
	if answer.StatusCode == http.StatusOK {
		return answer.Body, nil
	}
	var problem view.Problem
	err = json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&problem)
	if err != nil || problem.Error == "" {
		problem.Error = answer.Status
	}
	return nil, errors.Join(fmt.Errorf("the collector refuses: %s", view.Flat(problem.Error)), answer.Body.Close())
}

// maxTries is how often one thing is asked for, a second apart.
const maxTries = 30

// askedTooMuch reports whether the collector did not look at what was asked,
// because more was asked than it answers in a second. Whom it shuts out waits
// longer.
func askedTooMuch(answer *http.Response) bool {
	after, err := strconv.Atoi(answer.Header.Get("Retry-After"))
	return answer.StatusCode == http.StatusTooManyRequests && err == nil && after <= 2
}

func (c *client) ask(ctx context.Context, method, target string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("ask the collector: %w", err)
	}
	return answer, nil
}

// records reads all records of a session.
func (c *client) records(ctx context.Context, session string) ([]view.Record, error) {
	var all []view.Record
	query := url.Values{}
	for {
		var page view.Records
		if err := c.get(ctx, "/v1/sessions/"+url.PathEscape(session)+"/records", query, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Records...)
		if page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}
