package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/broker"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// metrics returns the page for monitoring, and at /ready whether interception
// works.
func metrics(privileged *broker.Client, trail *trail, guarding *agent.Agent) http.Handler {
	m := telemetry.NewMetrics("agent", version())
	m.Counts("interception", "What the eBPF programs did, by branch; bpf/README.md explains each. proxy_lost: alerts and connections that the proxy had no room for.", "branch", privileged.Counters)
	m.Gauge("spool_bytes", "Disk that records take which the collector has not proven to have.", func() float64 { return float64(trail.spool.Bytes()) })
	m.Gauge("batches_pending", "Batches without a receipt of the collector.", func() float64 { return float64(trail.log.Pending()) })
	m.Gauge("bus_connected", "1 while the bus answers.", func() float64 {
		if trail.bus.Status() != nil {
			return 0
		}
		return 1
	})
	m.Gauge("interception_healthy", "1 while the agent's own probe is redirected and every program is attached.", func() float64 {
		if privileged.Healthy() != nil {
			return 0
		}
		return 1
	})
	m.Gauge("observed_unrecorded", "Records of sessions in mode observe that could not be made, since the start.", func() float64 { return float64(guarding.Unrecorded()) })
	page := http.NewServeMux()
	page.Handle("/", m.Handler())
	page.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := privileged.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return page
}

// servePage serves the metrics page until ctx ends.
func servePage(ctx context.Context, listen config.Address, page http.Handler) error {
	server := &http.Server{Addr: listen.String(), Handler: page, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // nothing on the page is worth waiting for
	defer stop()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("metrics page: %w", err)
	}
	return nil
}
