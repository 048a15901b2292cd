package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// column is one way to the same server.
type column struct {
	name  string
	env   []string // libpq's
	alone bool     // while the collector stands still
}

// columns reads from the environment where scripts/bench put the server, the
// pooler, the balancer beside it, and the password for the ways on which the
// client logs in itself.
func columns() []column {
	return []column{
		{name: "direct", env: []string{"PGHOST=" + os.Getenv("BENCH_DIRECT"), "PGPORT=5432", "PGSSLMODE=require", "PGPASSWORD=" + os.Getenv("BENCH_PASSWORD")}},
		{name: "pgbouncer", env: []string{"PGHOST=" + os.Getenv("BENCH_POOLER"), "PGPORT=6432", "PGSSLMODE=disable"}},
		{name: "haproxy", env: []string{"PGHOST=" + os.Getenv("BENCH_POOLER"), "PGPORT=6433", "PGSSLMODE=require", "PGPASSWORD=" + os.Getenv("BENCH_PASSWORD")}},
		{name: "agent", env: toAgent},
	}
}

// toAgent is how a job reaches the agent: as if it were the server.
var toAgent = []string{"PGHOST=pg.lab", "PGPORT=5432", "PGSSLMODE=disable"}

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

// points runs pgbench's select-only script in each protocol mode. What ends in
// .node is the same with a collector that stands still meanwhile, as one of
// another machine that this one does not pay for: records are signed and wait
// in the spool. What ends in .bytes is a process that copies bytes, with the
// agent's own loop: what is least.
func points(rounds, seconds int) error {
	ways := append(columns(), column{name: "node", env: toAgent, alone: true}, column{name: "bytes", env: []string{
		"PGHOST=" + os.Getenv("BENCH_POOLER"), "PGPORT=6434", "PGSSLMODE=disable", "PGPASSWORD=" + os.Getenv("BENCH_PASSWORD"),
	}})
	for _, clients := range []int{1, 8} {
		for _, mode := range []string{"simple", "extended", "prepared"} {
			rates := map[string][]float64{}
			for range rounds {
				for _, c := range ways {
					rate, err := point(c, mode, clients, seconds)
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
			report(name+".node", "pgbouncer", rates["node"], rates["pgbouncer"])
			report(name+".bytes", "pgbouncer", rates["bytes"], rates["pgbouncer"])
		}
	}
	return nil
}

// point returns the queries of a second.
func point(c column, mode string, clients, seconds int) (rate float64, err error) {
	if c.alone {
		collector, err := processOf("collector")
		if err != nil {
			return 0, err
		}
		if err := syscall.Kill(collector, syscall.SIGSTOP); err != nil {
			return 0, fmt.Errorf("stop the collector: %w", err)
		}
		defer func() { err = errors.Join(err, goOn(collector)) }()
	}
	out, err := inJob(c.env, "pgbench", "--no-vacuum", "--select-only", "--protocol="+mode,
		"--client="+strconv.Itoa(clients), "--time="+strconv.Itoa(seconds))
	if err != nil {
		return 0, err
	}
	found := tps.FindStringSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("pgbench printed no rate:\n%s", out)
	}
	return strconv.ParseFloat(found[1], 64)
}

// goOn lets the collector go on, and waits until it has taken in what waited,
// so that the next column does not pay for it.
func goOn(collector int) error {
	if err := syscall.Kill(collector, syscall.SIGCONT); err != nil {
		return fmt.Errorf("let the collector go on: %w", err)
	}
	const look, idle = 500 * time.Millisecond, 2 // ticks of 10 ms
	var before int
	for calm := 0; calm < 4; {
		time.Sleep(look)
		now, err := ticks(collector)
		if err != nil {
			return err
		}
		calm++
		if now-before > idle {
			calm = 0
		}
		before = now
	}
	return nil
}

// ticks returns the processor time of a process (utime and stime of
// proc_pid_stat(5)).
func ticks(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("a process's stat is too short")
	}
	user, err1 := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return user + system, errors.Join(err1, err2)
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
