package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kube measures reads of one object of a cluster, over HTTP/2, by clients that
// keep their connection: directly, by an address of the API server that is not
// protected and with the agent's own token, and through the agent.
func kube(rounds, seconds int) error {
	direct := []string{os.Getenv("BENCH_DIRECT") + ":6443", os.Getenv("BENCH_CA"), os.Getenv("BENCH_TOKEN")}
	agent := []string{"kube.lab:6443", "/run/sluice/ca.pem", "of-the-job"}
	for _, clients := range []int{1, 8} {
		rates := map[string][]float64{}
		for range rounds {
			for name, way := range map[string][]string{"direct": direct, "agent": agent} {
				out, err := inJob(nil, append([]string{os.Getenv("BENCH_PROGRAM"), "get", strconv.Itoa(clients), strconv.Itoa(seconds)}, way...)...)
				if err != nil {
					return err
				}
				rate, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "kube.get.c%d %-6s %8.0f requests/s\n", clients, name, rate)
				rates[name] = append(rates[name], rate)
			}
		}
		report(fmt.Sprintf("kube.get.c%d", clients), "direct", rates["agent"], rates["direct"])
	}
	return nil
}

// get prints how often in a second some clients could read a configuration map
// of the lab's cluster.
func get(clients, seconds int, address, caFile, token string) error {
	return repeat(clients, seconds, address, caFile, true, func(ctx context.Context, client *http.Client) error {
		return readPage(ctx, client, "https://kube.lab:6443/api/v1/namespaces/shop/configmaps/settings", token, "currency", 2)
	})
}

// repeat prints how often in a second some clients, which keep their connection,
// could do something at an address.
func repeat(clients, seconds int, address, caFile string, http2 bool, once func(context.Context, *http.Client) error) error {
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second)
	defer cancel()
	counts, failed := make([]int, clients), make([]error, clients)
	var wait sync.WaitGroup
	began := time.Now()
	for i := range clients {
		wait.Go(func() {
			client := &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: http2,
				DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, address)
				},
			}}
			for ctx.Err() == nil && failed[i] == nil {
				if failed[i] = once(ctx, client); failed[i] == nil {
					counts[i]++
				}
			}
			if ctx.Err() != nil {
				failed[i] = nil // the time was over
			}
		})
	}
	wait.Wait()
	sum := 0
	for _, count := range counts {
		sum += count
	}
	fmt.Println(float64(sum) / time.Since(began).Seconds())
	return errors.Join(failed...)
}

// readPage reads a page, and is content with one of a version of HTTP that holds a
// word.
func readPage(ctx context.Context, client *http.Client, url, token, want string, major int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // it is read to its end
	body, err := io.ReadAll(response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) || response.ProtoMajor != major) {
		err = fmt.Errorf("%s %s: %s", response.Proto, response.Status, body)
	}
	return err
}
