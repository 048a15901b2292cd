package collector_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/config"
)

// childConfig names, in the environment, the configuration of a collector that
// this test binary is to run in place of tests.
const childConfig = "SLUICE_TEST_COLLECTOR"

func TestMain(m *testing.M) {
	file := os.Getenv(childConfig)
	if file == "" {
		os.Exit(m.Run())
	}
	if err := child(file); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load[collector.Config](file)
	if err != nil {
		return err
	}
	c, err := collector.Open(context.Background(), cfg, zap.NewNop())
	if err != nil {
		return err
	}
	if err := c.Run(ctx); err != nil {
		return err
	}
	return c.Close()
}

// spawn runs the site's collector in a process of its own.
func (s *site) spawn() *exec.Cmd {
	s.t.Helper()
	file := s.path("collector.yaml")
	text := fmt.Sprintf("cluster: test\ndata_dir: data\napi: {listen: %q}\nbus: {listen: %q, stream_limit: 64MiB}\n", s.cfg.API.Listen, s.cfg.Bus.Listen)
	check(s.t, os.WriteFile(file, []byte(text), 0o600))
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childConfig+"="+file)
	cmd.Stderr = os.Stderr
	check(s.t, cmd.Start())
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be dead already
		_ = cmd.Wait()
	})
	await(s.t, "the collector answers", func() bool {
		request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.cfg.API.Listen.String()+"/v1/healthz", nil)
		check(s.t, err)
		answer, err := http.DefaultClient.Do(request)
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	return cmd
}

func (s *site) logSize() int64 {
	s.t.Helper()
	return get[struct {
		Size int64 `json:"size"`
	}](s, "/v1/checkpoint").Size
}

func TestNothingIsLostWhenTheCollectorIsKilledUnderLoad(t *testing.T) {
	s := newSite(t)
	s.stop()
	process := s.spawn()
	a := s.agent()
	const kills, perKill = 4, 5
	for kill := range kills {
		before := s.logSize()
		for i := range perKill {
			a.runSession(t, fmt.Sprintf("kill%d-%d", kill, i), "SELECT 1", "SELECT 2", "SELECT 3")
		}
		await(t, "the log grows", func() bool { return s.logSize() > before })
		a.runSession(t, fmt.Sprintf("kill%d-last", kill), "SELECT 4")
		check(t, process.Process.Kill())
		_ = process.Wait() // it was killed
		process = s.spawn()
	}
	await(t, "every session is complete", func() bool {
		closed := 0
		for _, session := range get[[]view.Session](s, "/v1/sessions") {
			if session.Ended != nil && session.Operations > 0 {
				closed++
			}
		}
		return closed == kills*(perKill+1)
	})
	await(t, "every batch has its receipt", func() bool { return a.Pending() == 0 })
	report := s.verify(s.bundle("since=1970-01-01T00:00:00Z"))
	if rest := ofLiveChain(report); len(rest) > 0 {
		t.Error(rest)
	}
	if findings := get[[]json.RawMessage](s, "/v1/findings"); len(findings) > 0 {
		t.Errorf("%s", findings)
	}
}
