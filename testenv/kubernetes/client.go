package kubernetes

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
	"net"
	"net/http"
	"os"
	"time"
)

// Object is one of Kubernetes'.
type Object = map[string]any

// Client is an administrator's: it may all, and goes around any agent.
type Client struct {
	http       *http.Client
	url, token string
}

func newClient(url, token string, roots *x509.CertPool, dial func(context.Context, string, string) (net.Conn, error)) *Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DialContext: dial}
	return &Client{&http.Client{Timeout: 20 * time.Second, Transport: transport}, url, token}
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return roots, nil
}

// Call sends a body, if there is one, and decodes the answer. What is not there
// is fs.ErrNotExist.
func (c *Client) Call(ctx context.Context, method, path string, body any) (Object, error) {
	sent, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(sent))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	request.Header.Set("Content-Type", "application/json")
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close() //nolint:errcheck // it has been read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode == http.StatusNotFound {
		return nil, fmt.Errorf("%s %s: %w", method, path, fs.ErrNotExist)
	}
	if response.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, text)
	}
	var answer Object
	return answer, json.Unmarshal(text, &answer)
}

// ready asks whether the server has started in full.
func (c *Client) ready(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/readyz", http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		err = errors.New(response.Status)
	}
	return errors.Join(err, response.Body.Close())
}

// Create makes an object in a namespace's collection of the core group.
func (c *Client) Create(ctx context.Context, namespace, kind string, o Object) error {
	_, err := c.Call(ctx, http.MethodPost, "/api/v1/namespaces/"+namespace+"/"+kind, o)
	return err
}

// CreateNamespace makes a namespace with what a controller would put into it,
// so that pods find their service account.
func (c *Client) CreateNamespace(ctx context.Context, name string) error {
	if _, err := c.Call(ctx, http.MethodPost, "/api/v1/namespaces", Object{"metadata": Object{"name": name}}); err != nil {
		return err
	}
	return c.Create(ctx, name, "serviceaccounts", Object{"metadata": Object{"name": "default"}})
}

// Until asks again and again until something is so, fails or takes too long.
func Until(ctx context.Context, most time.Duration, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		if done, err := is(); done || err != nil {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
