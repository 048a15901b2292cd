// Package otelcol builds the OTLP receiver of the OpenTelemetry Collector from
// its own modules, for tests that send to it what goes to other people's
// collectors.
//
// The program's requirements are in otelcol.mod, so that they are not those of
// Sluice; the build list of go.mod does not know them.
package otelcol

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Build writes the program to a file. It takes -listen, -cert and -key, says
// "ready" on stderr and then prints what it is sent.
func Build(ctx context.Context, to string) error {
	_, self, _, ok := runtime.Caller(0)
	if !ok {
		return errors.New("build otelcol: where its source is cannot be told")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-modfile=otelcol.mod", "-o", to, "main.go")
	cmd.Dir = filepath.Dir(self)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build otelcol: %w\n%s", err, out)
	}
	return nil
}
