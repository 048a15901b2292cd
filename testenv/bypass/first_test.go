package bypass

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestFirstConnectionOfEveryContainerIsServed starts containers whose first act
// is connect, several at a time and beside busy loops.
func TestFirstConnectionOfEveryContainerIsServed(t *testing.T) {
	containers := 30
	if *long {
		containers = 200
	}
	must(t, command("gcc", "-O2", "-static", "-o", filepath.Join(lab.dir, "bin", "first"), "testdata/first.c"))
	held := lab.agent.counters(t)["connect_held"]
	stop := load(t)
	waits := firstConnections(t, containers)
	stop()
	held = lab.agent.counters(t)["connect_held"] - held
	slices.Sort(waits)
	if len(waits) < containers {
		t.Errorf("%d of %d containers were served", len(waits), containers)
		return
	}
	lab.tables.waits = append(lab.tables.waits,
		"first connections\tserved\theld\tmin\tmedian\tp95\tmax",
		fmt.Sprintf("%d containers\t%d\t%d\t%s\t%s\t%s\t%s", containers, len(waits), held,
			waits[0], waits[len(waits)/2], waits[len(waits)*95/100], waits[len(waits)-1]))
}

// load keeps all processors busy until it is stopped.
func load(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var loops sync.WaitGroup
	for range 8 {
		loops.Go(func() { _ = exec.CommandContext(ctx, "sh", "-c", "while :; do :; done").Run() }) // killed by cancel
	}
	return func() { cancel(); loops.Wait() }
}

// firstConnections returns how long each container waited for its first byte.
func firstConnections(t *testing.T, containers int) []time.Duration {
	var (
		mu     sync.Mutex
		waits  []time.Duration
		failed error
		places = make(chan struct{}, 8)
		all    sync.WaitGroup
	)
	for range containers {
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			wait, err := firstConnection(lab.engine.run(nil, "/attack/first", lab.server4.String(), strconv.Itoa(sealedPort)))
			mu.Lock()
			defer mu.Unlock()
			if failed = errors.Join(failed, err); err == nil {
				waits = append(waits, wait)
			}
		})
	}
	all.Wait()
	if failed != nil {
		t.Error(failed)
	}
	return waits
}

// firstConnection runs a container whose first act is connect.
func firstConnection(argv []string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	out, err := output(ctx, argv...)
	if err != nil {
		return 0, err
	}
	var microseconds int64
	var first string
	if _, err := fmt.Sscan(out, &microseconds, &first); err != nil || first != "A" {
		return 0, fmt.Errorf("the container says %q: %w", out, err)
	}
	return time.Duration(microseconds) * time.Microsecond, nil
}
