package telemetry

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins every metric's name.
const namespace = "sluice"

// Metrics is one program's metrics. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
}

// NewMetrics returns metrics of the process and of Go's runtime. Program is
// "agent" or "collector".
func NewMetrics(program, version string) *Metrics {
	m := &Metrics{prometheus.NewRegistry()}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "Always 1; the labels name the program.",
		ConstLabels: prometheus.Labels{"program": program, "version": version},
	})
	build.Set(1)
	m.registry.MustRegister(
		build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Counter counts things that happened. Label values are few and never hold
// what a job wrote.
type Counter struct {
	vector *prometheus.CounterVec
}

// Counter adds a counter sluice_<name>_total. It panics when the name is
// taken, which is a mistake in the program.
func (m *Metrics) Counter(name, help string, labels ...string) *Counter {
	vector := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name + "_total", Help: help}, labels)
	m.registry.MustRegister(vector)
	return &Counter{vector}
}

// Add counts n under one value for each label, in their order.
func (c *Counter) Add(n uint64, values ...string) {
	c.vector.WithLabelValues(values...).Add(float64(n))
}

// Gauge adds sluice_<name>, which is read whenever somebody asks for the page.
func (m *Metrics) Gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, read))
}

// Counts adds sluice_<name>_total with one label whose values and counts are
// read whenever somebody asks for the page, such as the kernel's counters. The
// counts must never fall.
func (m *Metrics) Counts(name, help, label string, read func() (map[string]uint64, error)) {
	m.registry.MustRegister(&counts{
		prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name+"_total"), help, []string{label}, nil), read,
	})
}

// counts is a metric that is read from elsewhere.
type counts struct {
	description *prometheus.Desc
	read        func() (map[string]uint64, error)
}

// Describe sends the only description.
func (c *counts) Describe(out chan<- *prometheus.Desc) { out <- c.description }

// Collect sends what read returns; an error shows on the page's log, and the
// other metrics stay.
func (c *counts) Collect(out chan<- prometheus.Metric) {
	now, err := c.read()
	if err != nil {
		out <- prometheus.NewInvalidMetric(c.description, err)
		return
	}
	for value, count := range now {
		out <- prometheus.MustNewConstMetric(c.description, prometheus.CounterValue, float64(count), value)
	}
}

// Handler serves the metrics page. A metric that cannot be read is left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4})
}
