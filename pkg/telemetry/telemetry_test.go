package telemetry_test

import (
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/telemetry"
)

// secret stands for what a job wrote. It is checked as text, as base64 of its
// middle and as decimal bytes, which is how bytes get into logs.
const secret = "s3cr3t-value-of-a-job"

var forms = []string{"s3cr3t", "czNjcjN0", "115 51 99", "115,51,99", "733363"}

// logged returns what a logger wrote.
func logged(t *testing.T, format telemetry.Format, write func(*zap.Logger)) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	log, err := telemetry.NewLogger(format, "debug", path)
	if err != nil {
		t.Fatal(err)
	}
	write(log)
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatIsSaidWithoutEndFillsNoDisk(t *testing.T) {
	const often = 100_000
	text := logged(t, telemetry.JSON, func(log *zap.Logger) {
		for range often {
			log.Warn("A job did it again")
		}
		log.Warn("Something else")
	})
	if lines := strings.Count(text, "again"); lines < 100 || lines > often/100 {
		t.Errorf("%d lines of %d were written", lines, often)
	}
	if !strings.Contains(text, "Something else") {
		t.Error("what else was said is missing")
	}
}

func TestWhatAJobWroteNeverPrints(t *testing.T) {
	text := operation.Text(secret)
	op := operation.Operation{
		ID: 7, Kind: operation.Statement, Text: text, Bytes: []byte(secret),
		Params:  []operation.Param{{Text: text}},
		Context: operation.Context{SearchPath: secret},
		SQL:     &operation.SQL{Statements: []operation.SQLStatement{{Relations: []string{secret}}}},
	}
	for name, field := range map[string]zap.Field{
		"any text":         zap.Any("k", text),
		"stringer":         zap.Stringer("k", text),
		"reflected text":   zap.Reflect("k", text),
		"texts":            zap.Any("k", []operation.Text{text}),
		"text in a map":    zap.Any("k", map[string]any{"a": text}),
		"parameter":        zap.Any("k", op.Params[0]),
		"parameters":       zap.Reflect("k", op.Params),
		"operation":        zap.Any("k", op),
		"operation's addr": zap.Any("k", &op),
		"operations":       zap.Reflect("k", []operation.Operation{op}),
		"operation within": zap.Any("k", struct{ Op *operation.Operation }{&op}),
	} {
		for _, format := range []telemetry.Format{telemetry.JSON, telemetry.Console} {
			got := logged(t, format, func(log *zap.Logger) {
				log.Info("Line", field)
				log.Sugar().Infof("%v %+v %#v %s %x %q", text, text, text, text, text, text)
				log.Sugar().Infof("%v %+v %#v %s %x %d", op, &op, op, &op, op, op)
			})
			for _, form := range forms {
				if strings.Contains(got, form) {
					t.Errorf("%s as %s prints %q: %s", name, format, form, got)
				}
			}
			if strings.Count(got, "\n") != 3 {
				t.Errorf("%s as %s: got %d lines, want 3: %s", name, format, strings.Count(got, "\n"), got)
			}
		}
	}
}

func TestSessionFieldsNameTheSession(t *testing.T) {
	s := &session.Session{ID: "abc", Resource: "shop-db", Protocol: "postgres"}
	got := logged(t, telemetry.JSON, func(log *zap.Logger) { log.Info("Opened", telemetry.Fields(s)...) })
	for _, want := range []string{`"session":"abc"`, `"resource":"shop-db"`, `"assurance":"A0"`, `"level":"info"`, `"time":"`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
}

func TestLevelsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	log, err := telemetry.NewLogger(telemetry.JSON, "warn", path)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("Quiet")
	log.Warn("Loud")
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), "Quiet") || !strings.Contains(string(text), "Loud") {
		t.Errorf("got %s, %v", text, err)
	}
	for _, wrong := range []string{"", "fatal", "INFO"} {
		if _, err := telemetry.NewLogger(telemetry.JSON, wrong, path); err == nil {
			t.Errorf("level %q was accepted", wrong)
		}
	}
	if _, err := telemetry.NewLogger("xml", "info", path); err == nil {
		t.Error("format xml was accepted")
	}
}

func TestPageShowsWhatWasCounted(t *testing.T) {
	m := telemetry.NewMetrics("agent", "v0")
	m.Counter("operations", "Operations by effect.", "effect").Add(3, "deny")
	m.Gauge("spool_bytes", "Bytes in the spool.", func() float64 { return 42 })
	m.Counts("redirect_branches", "Branches taken in the kernel.", "branch", func() (map[string]uint64, error) {
		return map[string]uint64{"connect4": 5}, nil
	})
	m.Counts("broken", "Cannot be read.", "x", func() (map[string]uint64, error) { return nil, errors.New("gone") })
	recorder := httptest.NewRecorder()
	m.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	page, err := io.ReadAll(recorder.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`sluice_operations_total{effect="deny"} 3`, "sluice_spool_bytes 42",
		`sluice_redirect_branches_total{branch="connect4"} 5`, `sluice_build_info{program="agent",version="v0"} 1`, "go_goroutines ",
	} {
		if !strings.Contains(string(page), want) {
			t.Errorf("no %s on the page", want)
		}
	}
}
