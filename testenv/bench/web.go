package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// web measures reads of an API, over HTTP/1.1, by clients that keep their
// connection: directly, by an address that is not protected and with the
// agent's own token, through nginx, which adds it as the agent does, and through
// the agent.
func web(rounds, seconds int) error {
	direct, nginx := os.Getenv("BENCH_DIRECT")+":443", os.Getenv("BENCH_POOLER")+":8443"
	ways := []struct{ name, address, ca, token string }{
		{"direct", direct, os.Getenv("BENCH_CA"), os.Getenv("BENCH_TOKEN")},
		{"nginx", nginx, os.Getenv("BENCH_CA"), "of-the-job"},
		{"agent", "web.lab:443", "/run/sluice/ca.pem", "of-the-job"},
	}
	for _, clients := range []int{1, 8} {
		rates := map[string][]float64{}
		for range rounds {
			for _, way := range ways {
				out, err := inJob(nil, os.Getenv("BENCH_PROGRAM"), "fetch", strconv.Itoa(clients), strconv.Itoa(seconds), way.address, way.ca, way.token)
				if err != nil {
					return err
				}
				rate, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
				if err != nil {
					return err
				}
				fmt.Fprintf(os.Stderr, "http.get.c%d %-6s %8.0f requests/s\n", clients, way.name, rate)
				rates[way.name] = append(rates[way.name], rate)
			}
		}
		for _, against := range []string{"direct", "nginx"} {
			report(fmt.Sprintf("http.get.c%d", clients), against, rates["agent"], rates[against])
		}
	}
	return nil
}

// fetch prints how often in a second some clients could read the customers of
// the lab's API.
func fetch(clients, seconds int, address, caFile, token string) error {
	return repeat(clients, seconds, address, caFile, false, func(ctx context.Context, client *http.Client) error {
		return readPage(ctx, client, "https://web.lab/v1/customers", token, "Ada Example", 1)
	})
}
