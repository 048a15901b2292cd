//go:build ignore

// Command otelcol is the OTLP receiver of the OpenTelemetry Collector with a
// pipeline that prints each export of logs as a line of OTLP's JSON. It is
// built from this file and otelcol.mod; see Build.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/plog"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:4318", "where OTLP over HTTP is received")
	cert := flag.String("cert", "", "certificate for TLS")
	key := flag.String("key", "", "its key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *cert, *key); err != nil {
		fmt.Fprintln(os.Stderr, "otelcol:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, cert, key string) error {
	factory := otlpreceiver.NewFactory()
	cfg := factory.CreateDefaultConfig()
	http := map[string]any{"endpoint": listen}
	if cert != "" {
		http["tls"] = map[string]any{"cert_file": cert, "key_file": key}
	}
	file := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{"http": http}})
	if err := file.Unmarshal(cfg); err != nil {
		return err
	}
	printer, err := consumer.NewLogs(printLogs())
	if err != nil {
		return err
	}
	settings := receiver.Settings{
		ID:                component.NewID(factory.Type()),
		TelemetrySettings: componenttest.NewNopTelemetrySettings(),
	}
	r, err := factory.CreateLogs(ctx, settings, cfg, printer)
	if err != nil {
		return err
	}
	if err := r.Start(ctx, componenttest.NewNopHost()); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "ready")
	<-ctx.Done()
	return r.Shutdown(context.WithoutCancel(ctx))
}

// printLogs acknowledges an export once it is printed.
func printLogs() consumer.ConsumeLogsFunc {
	var mu sync.Mutex
	var marshaler plog.JSONMarshaler
	return func(_ context.Context, logs plog.Logs) error {
		line, err := marshaler.MarshalLogs(logs)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		_, err = os.Stdout.Write(append(line, '\n'))
		return err
	}
}
