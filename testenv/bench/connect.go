package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"strings"
	"time"
)

// connects measures connect(2) from a job to the same server process: with no
// Sluice program loaded, with them loaded towards an address that is not
// protected, and towards the protected one.
func connects(rounds, count int) error {
	direct := os.Getenv("BENCH_DIRECT") + ":5432"
	medians := map[string][]float64{}
	measure := func(name, address string) error {
		out, err := inJob(nil, os.Getenv("BENCH_PROGRAM"), "connect", address, strconv.Itoa(count))
		if err != nil {
			return err
		}
		ns, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
		if err != nil {
			return err
		}
		medians[name] = append(medians[name], ns)
		return nil
	}
	for range rounds {
		if err := lab("uninstall", "agent"); err != nil {
			return err
		}
		if err := measure("none", direct); err != nil {
			return err
		}
		if err := lab("start", "agent"); err != nil {
			return err
		}
		if err := measure("unprotected", direct); err != nil {
			return err
		}
		if err := measure("protected", "pg.lab:5432"); err != nil {
			return err
		}
	}
	// A rate is the inverse of a time: none over ours.
	report("connect.none", "none", medians["none"], medians["none"])
	report("connect.unprotected", "none", medians["none"], medians["unprotected"])
	report("connect.protected", "none", medians["none"], medians["protected"])
	for _, name := range []string{"none", "unprotected", "protected"} {
		sort.Float64s(medians[name])
		fmt.Fprintf(os.Stderr, "connect %-12s %8.1f µs\n", name, medians[name][rounds/2]/1000)
	}
	return nil
}

func lab(args ...string) error {
	cmd := exec.Command("scripts/lab", args...)
	cmd.Stderr = os.Stderr
	return cmd.Run()
}

// connect prints the median time in nanoseconds of count connects, one after
// the other, after a few that warm the path up.
func connect(address string, count int) error {
	target, err := net.ResolveTCPAddr("tcp4", address)
	if err != nil {
		return err
	}
	times := make([]time.Duration, 0, count)
	for i := range count + 20 {
		began := time.Now()
		conn, err := net.DialTCP("tcp4", nil, target)
		took := time.Since(began)
		if err != nil {
			return err
		}
		if err := conn.Close(); err != nil {
			return err
		}
		if i >= 20 {
			times = append(times, took)
		}
	}
	sort.Slice(times, func(i, j int) bool { return times[i] < times[j] })
	fmt.Println(times[count/2].Nanoseconds())
	return nil
}
