package main

import (
	"fmt"
	"net"
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
	m.Gauge("spool_bytes", "Disk that records take which the collector has not proven to have.", func() float64 { return float64(trail.now.Load().spool.Bytes()) })
	m.Gauge("batches_pending", "Batches without a receipt of the collector.", func() float64 { return float64(trail.now.Load().log.Pending()) })
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
	m.Gauge("observed_unread", "Sessions in mode observe that were relayed without being read, from their beginning or from some point on, since the start.", func() float64 { return float64(guarding.Unread()) })
	m.Gauge("policies_refused", "Published policies that were not put in force, since the start.", func() float64 { return float64(trail.policies.Refused()) })
	m.Gauge("policy_sequence", "Of the published policy in force, in milliseconds since 1970; 0: the node's file.", func() float64 { return float64(trail.policies.Sequence()) })
	page := http.NewServeMux()
	page.Handle("/", m.Handler())
	page.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := privileged.Healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return page
}

// page is the metrics page at its address.
type page struct {
	listen  config.Address
	handler http.Handler
	server  *http.Server // nil: there is none
	served  chan struct{}
}

// open begins to serve, if there is an address.
func (p *page) open() error {
	if !p.listen.IsValid() {
		return nil
	}
	l, err := net.Listen("tcp", p.listen.String())
	if err != nil {
		return fmt.Errorf("metrics page: %w", err)
	}
	p.server, p.served = &http.Server{Handler: p.handler, ReadHeaderTimeout: 5 * time.Second}, make(chan struct{})
	go func() {
		defer close(p.served)
		_ = p.server.Serve(l) // ends with close: a listener that works goes on working
	}()
	return nil
}

// close frees the address. Nothing on the page is worth waiting for.
func (p *page) close() error {
	if p.server == nil {
		return nil
	}
	err := p.server.Close()
	<-p.served
	p.server = nil
	return err
}
