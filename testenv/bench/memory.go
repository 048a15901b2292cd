package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// room is how much the agent may take, in MiB, for what passes through it: the
// windows and buffers of a session or two, and what is garbage until the next
// collection, which is far where the heap was large before.
const room = 256

// look is how often it is looked at.
const look = 50 * time.Millisecond

// flat runs something and fails when the memory of the agent's processes grew
// by more than room at any time meanwhile. What they map of files, the spool
// above all, is the page cache's and does not count.
func flat(name string, do func() error) error {
	pids, err := agentProcesses()
	if err != nil {
		return err
	}
	before, err := anonymous(pids)
	if err != nil {
		return err
	}
	over := make(chan struct{})
	peaks := make(chan int)
	go func() {
		peak := before
		for {
			select {
			case <-over:
				peaks <- peak
				return
			case <-time.After(look):
			}
			if now, err := anonymous(pids); err == nil {
				peak = max(peak, now)
			}
		}
	}()
	err = do()
	close(over)
	peak := <-peaks
	fmt.Fprintf(os.Stderr, "%s: the agent had %d MiB before and %d at most\n", name, before, peak)
	if err == nil && peak > before+room {
		return fmt.Errorf("%s: the agent's memory grew from %d to %d MiB", name, before, peak)
	}
	return err
}

// anonymous is how much memory of their own processes have, in MiB: RssAnon of
// proc(5).
func anonymous(pids []string) (int, error) {
	var sum int
	for _, pid := range pids {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(status), "\nRssAnon:")
		rest, _, _ = strings.Cut(strings.TrimSpace(rest), " kB\n")
		kibibytes, err := strconv.Atoi(rest)
		if err != nil {
			return 0, err
		}
		sum += kibibytes >> 10
	}
	return sum, nil
}

// processOf returns the pid of one of the lab's programs.
func processOf(name string) (int, error) {
	text, err := os.ReadFile(filepath.Join(os.Getenv("SLUICE_LAB_DIR"), "state.json"))
	if err != nil {
		return 0, err
	}
	var state struct {
		Processes map[string]struct {
			PID int `json:"pid"`
		} `json:"processes"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return 0, err
	}
	if state.Processes[name].PID == 0 {
		return 0, fmt.Errorf("the lab has no %s", name)
	}
	return state.Processes[name].PID, nil
}

// agentProcesses are the agent's privileged half and its children.
func agentProcesses() ([]string, error) {
	first, err := processOf("agent")
	if err != nil {
		return nil, err
	}
	pid := strconv.Itoa(first)
	children, err := filepath.Glob(filepath.Join("/proc", pid, "task", "*", "children"))
	if err != nil {
		return nil, err
	}
	pids := []string{pid}
	for _, of := range children {
		text, err := os.ReadFile(of)
		if err != nil {
			return nil, err
		}
		pids = append(pids, strings.Fields(string(text))...)
	}
	return pids, nil
}
