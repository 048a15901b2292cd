// Command attacker is a job that wants to reach a protected server around the
// agent. It knows each technique of the bypass suite, tries the one that it is
// told to and says what it saw: an errno, a time-out, who answered.
//
// It promises to leave nothing behind in its container that would help the next
// technique, and it judges nothing: whether bytes arrived is what the suite's
// own capture at the server says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// target is what the suite tells a technique.
type target struct {
	Server4, Server6  netip.Addr // the protected server, or one that is not for a control
	Innocent          netip.Addr // an address that is not protected and that nobody has
	Gateway, Gateway6 netip.Addr // the node, as the container sees it
	Port              uint16     // the protected port
	Leg               uint16     // a protected port that the agent relays
	Open              uint16     // a port of the same server that is not protected
	Listener          uint16     // of the agent, in every network namespace
	Share             string     // a directory that the suite shares
	Agent             int        // the agent's process id in the initial namespace
	Pins              string     // the agent's, on the node
	Links             []uint32   // ids of the agent's links
	Run               []string   // options and image of docker run for a job like this one
}

// seen is what a technique saw. Gained means that it got what it wanted, where
// that is something else than a packet at the server.
type seen struct {
	Saw    string
	Gained bool
}

// technique is one way round.
type technique struct {
	name string
	try  func(target) seen
}

func techniques() []technique {
	var all []technique
	for _, family := range [][]technique{
		streams(), repeats(), datagrams(), rawPackets(), frames(), rings(), listeners(), namespaces(), routes(), stacks(), nodes(), overlays(), legs(), honest(),
	} {
		all = append(all, family...)
	}
	return all
}

// limit bounds one technique.
const limit = 90 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "serve":
		return serve()
	case len(args) == 1 && args[0] == "list":
		for _, t := range techniques() {
			fmt.Println(t.name)
		}
		return nil
	case len(args) == 2 && args[0] == "canary":
		return canary(args[1])
	case len(args) == 3 && args[0] == "try":
		return try(args[1], args[2])
	}
	return fmt.Errorf("usage: attacker serve | list | canary PORT | try TECHNIQUE TARGET")
}

// serve tries what it reads, one technique and its target a line, until its
// input ends. Each has a process of its own, so that nothing is left open.
func serve() error {
	for {
		line, err := readLine()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, to, _ := strings.Cut(line, " ")
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		cmd := exec.CommandContext(ctx, "/proc/self/exe", "try", name, to)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err = cmd.Run()
		cancel()
		if err != nil {
			if err := answer(seen{Saw: "the technique ended: " + err.Error()}); err != nil {
				return err
			}
		}
	}
}

func try(name, text string) error {
	var to target
	if err := json.Unmarshal([]byte(text), &to); err != nil {
		return err
	}
	for _, t := range techniques() {
		if t.name == name {
			return answer(t.try(to))
		}
	}
	return fmt.Errorf("unknown technique %q", name)
}

func answer(s seen) error { return json.NewEncoder(os.Stdout).Encode(s) }

// pause lets the suite change the world in the middle of a technique.
func pause() {
	fmt.Println("pause")
	_, _ = readLine() // its end is all that matters
}

// readLine reads byte by byte: what follows the line belongs to another
// process.
func readLine() (string, error) {
	var line []byte
	for one := make([]byte, 1); ; line = append(line, one[0]) {
		if _, err := os.Stdin.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
	}
}
