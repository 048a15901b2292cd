// Command bench measures what Sluice costs, side by side in one run, and
// prints one line for each result: name, ratio, against, separated by tabs. A
// ratio above 1 means that we are faster. scripts/bench calls it with a lab
// that is up.
//
// With PostgreSQL every column has exactly one TLS leg, to the server, with SCRAM: the direct
// client's own (directly and through HAProxy), PgBouncer's and the agent's. Rounds are interleaved and the
// median ratio is printed, because the machine's speed drifts.
package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

const usage = "usage: bench points ROUNDS SECONDS | bulk ROUNDS | connects ROUNDS COUNT | hosts ROUNDS [NAME...] | kube ROUNDS SECONDS | http ROUNDS SECONDS | get|fetch CLIENTS SECONDS ADDRESS CA TOKEN | connect ADDRESS COUNT | relay LISTEN SERVER [USER KEY CERTIFICATE] | bytes LISTEN SERVER CA"

func run(args []string) error {
	if len(args) == 3 && args[0] == "connect" {
		count, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return connect(args[1], count)
	}
	if (len(args) == 3 || len(args) == 6) && args[0] == "relay" {
		return relay(args[1], args[2], args[3:])
	}
	if len(args) == 4 && args[0] == "bytes" {
		return copyBytes(args[1], args[2], args[3])
	}
	if len(args) > 1 && args[0] == "hosts" {
		rounds, err := atoi(args[:2])
		if err != nil {
			return err
		}
		return hosts(rounds[0], args[2:])
	}
	if len(args) == 6 && (args[0] == "get" || args[0] == "fetch") {
		numbers, err := atoi(args[:3])
		if err != nil {
			return err
		}
		client := map[string]func(int, int, string, string, string) error{"get": get, "fetch": fetch}[args[0]]
		return client(numbers[0], numbers[1], args[3], args[4], args[5])
	}
	numbers, err := atoi(args)
	if err != nil {
		return err
	}
	switch {
	case len(numbers) == 2 && args[0] == "points":
		return points(numbers[0], numbers[1])
	case len(numbers) == 2 && args[0] == "kube":
		return kube(numbers[0], numbers[1])
	case len(numbers) == 2 && args[0] == "http":
		return web(numbers[0], numbers[1])
	case len(numbers) == 1 && args[0] == "bulk":
		return bulk(numbers[0])
	case len(numbers) == 2 && args[0] == "connects":
		return connects(numbers[0], numbers[1])
	}
	return errors.New(usage)
}

func atoi(args []string) ([]int, error) {
	var numbers []int
	for i := 1; i < len(args); i++ {
		n, err := strconv.Atoi(args[i])
		if err != nil || n < 1 {
			return nil, errors.New(usage)
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

// report prints the median over the rounds of ours divided by theirs.
func report(name, against string, ours, theirs []float64) {
	ratios := make([]float64, len(ours))
	for i := range ours {
		ratios[i] = ours[i] / theirs[i]
	}
	sort.Float64s(ratios)
	fmt.Printf("%s\t%.3f\t%s\n", name, ratios[len(ratios)/2], against)
}
