package httpproxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Roles that the benchmark plays in processes of its own, as they have them on a
// node: what one process does would be the other's wake-ups otherwise.
const (
	roleServer = "server"
	roleClient = "client"
)

// TestMain plays a role where a benchmark has asked for one.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Getenv("SLUICE_TEST_ROLE") == "" {
		os.Exit(m.Run())
	}
	err := map[string]func([]string) error{roleServer: playServer, roleClient: playClient}[os.Getenv("SLUICE_TEST_ROLE")](os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// player is a process that plays a role until its input ends.
type player struct {
	cmd *exec.Cmd
	to  io.WriteCloser
	out *bufio.Reader
}

func play(b *testing.B, role string, args ...string) *player {
	b.Helper()
	p := &player{cmd: exec.Command(os.Args[0], args...)}
	p.cmd.Env = append(os.Environ(), "SLUICE_TEST_ROLE="+role)
	p.cmd.Stderr = os.Stderr
	to, err1 := p.cmd.StdinPipe()
	out, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		b.Fatal(err)
	}
	p.to, p.out = to, bufio.NewReader(out)
	b.Cleanup(func() {
		_ = p.to.Close()
		_ = p.cmd.Wait()
	})
	return p
}

// line is what the player says next.
func (p *player) line(b *testing.B) string {
	b.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// playServer answers with a kilobyte, over both versions of HTTP, and says where.
func playServer(args []string) error {
	pair, err := tls.LoadX509KeyPair(args[0], args[0])
	if err != nil {
		return err
	}
	answer := []byte(`{"customers":["` + strings.Repeat("x", 1000) + `"]}`)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(answer)
	}))
	server.EnableHTTP2, server.TLS = true, &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	fmt.Fprintln(os.Stdout, server.Listener.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	return nil
}

// playClient reads a page as often as each line of its input says, over so many
// connections.
func playClient(args []string) error {
	pem, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	address, http2 := args[1], args[2] == "HTTP2"
	n, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	var clients []*http.Client
	for range n {
		clients = append(clients, pageReader(pem, address, http2))
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		times, err := strconv.Atoi(in.Text())
		if err != nil {
			return err
		}
		if err := readAll(clients, times); err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, "done")
	}
	return nil
}

// pageReader is a client with one connection to an address.
func pageReader(pem []byte, address string, http2 bool) *http.Client {
	roots, protocols := x509.NewCertPool(), new(http.Protocols)
	roots.AppendCertsFromPEM(pem)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "server.example"}, Protocols: protocols, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
}

// readAll has the clients read a page some times together.
func readAll(clients []*http.Client, times int) error {
	errs := make([]error, len(clients))
	var wait sync.WaitGroup
	for i, client := range clients {
		wait.Go(func() {
			for n := i; n < times && errs[i] == nil; n += len(clients) {
				errs[i] = readOne(client)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

func readOne(client *http.Client) error {
	answer, err := client.Get("https://server.example/v1/customers")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && (answer.StatusCode != http.StatusOK || len(body) < 1000) {
		err = fmt.Errorf("%s: %q", answer.Status, body)
	}
	return err
}
