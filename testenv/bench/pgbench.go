package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// column is one way to the same server.
type column struct {
	name string
	env  []string // libpq's
}

// columns reads from the environment where scripts/bench put the server, the
// pooler, the balancer beside it, and the password for the ways on which the
// client logs in itself.
func columns() []column {
	return []column{
		{"direct", []string{"PGHOST=" + os.Getenv("BENCH_DIRECT"), "PGPORT=5432", "PGSSLMODE=require", "PGPASSWORD=" + os.Getenv("BENCH_PASSWORD")}},
		{"pgbouncer", []string{"PGHOST=" + os.Getenv("BENCH_POOLER"), "PGPORT=6432", "PGSSLMODE=disable"}},
		{"haproxy", []string{"PGHOST=" + os.Getenv("BENCH_POOLER"), "PGPORT=6433", "PGSSLMODE=require", "PGPASSWORD=" + os.Getenv("BENCH_PASSWORD")}},
		{"agent", []string{"PGHOST=pg.lab", "PGPORT=5432", "PGSSLMODE=disable"}},
	}
}

// inJob runs a command in a job container and returns its output.
func inJob(env []string, argv ...string) (string, error) {
	args := []string{"job"}
	for _, pair := range append(env, "PGUSER=app", "PGDATABASE=shop") {
		args = append(args, "--env", pair)
	}
	cmd := exec.Command("scripts/lab", append(append(args, "--"), argv...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, stderr.Bytes())
	}
	return string(out), nil
}

// timed is inJob that returns how long the command took, without the container.
func timed(env []string, argv ...string) (time.Duration, error) {
	script := `s=$(date +%s%N); "$@" >&2 || exit; e=$(date +%s%N); echo $((e - s))`
	out, err := inJob(env, append([]string{"sh", "-c", script, "sh"}, argv...)...)
	if err != nil {
		return 0, err
	}
	return time.ParseDuration(strings.TrimSpace(out) + "ns")
}

var tps = regexp.MustCompile(`tps = ([0-9.]+) \(without initial connection time\)`)

// points runs pgbench's select-only script in each protocol mode.
func points(rounds, seconds int) error {
	for _, clients := range []int{1, 8} {
		for _, mode := range []string{"simple", "extended", "prepared"} {
			rates := map[string][]float64{}
			for range rounds {
				for _, c := range columns() {
					out, err := inJob(c.env, "pgbench", "--no-vacuum", "--select-only", "--protocol="+mode,
						"--client="+strconv.Itoa(clients), "--time="+strconv.Itoa(seconds))
					if err != nil {
						return err
					}
					found := tps.FindStringSubmatch(out)
					if found == nil {
						return fmt.Errorf("pgbench printed no rate:\n%s", out)
					}
					rate, err := strconv.ParseFloat(found[1], 64)
					if err != nil {
						return err
					}
					rates[c.name] = append(rates[c.name], rate)
				}
			}
			name := fmt.Sprintf("point.%s.c%d", mode, clients)
			report(name, "direct", rates["agent"], rates["direct"])
			report(name, "pgbouncer", rates["agent"], rates["pgbouncer"])
			report(name, "haproxy", rates["agent"], rates["haproxy"])
		}
	}
	return nil
}

// bulk reads the same 100,000 rows by SELECT and by COPY, and by SELECT with a
// masked column.
func bulk(rounds int) error {
	cases := []struct{ name, direct, agent string }{
		{"bulk.select.plain", `SELECT * FROM bulk`, `SELECT * FROM bulk`},
		{"bulk.copy.plain", `COPY bulk TO STDOUT`, `COPY bulk TO STDOUT`},
		{"bulk.select.masked", `SELECT * FROM bulk`, `SELECT * FROM bulk_masked`},
	}
	for _, test := range cases {
		rates := map[string][]float64{}
		for range rounds {
			for _, c := range columns() {
				query := test.direct
				if c.name == "agent" {
					query = test.agent
				}
				rate, err := reads(c, query)
				if err != nil {
					return err
				}
				rates[c.name] = append(rates[c.name], rate)
			}
		}
		report(test.name, "direct", rates["agent"], rates["direct"])
		report(test.name, "pgbouncer", rates["agent"], rates["pgbouncer"])
		report(test.name, "haproxy", rates["agent"], rates["haproxy"])
	}
	return nil
}

// reads runs the query several times in one psql and returns runs a second.
// psql's own start-up is in it for every column alike, and small beside them.
func reads(c column, query string) (float64, error) {
	const times = 8
	argv := []string{"psql", "--no-psqlrc", "--quiet", "--no-align", "--output=/dev/null", "--set=ON_ERROR_STOP=1"}
	for range times {
		argv = append(argv, "--command="+query)
	}
	took, err := timed(c.env, argv...)
	if err != nil {
		return 0, err
	}
	return times / took.Seconds(), nil
}
