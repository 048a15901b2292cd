// Command inside is what testenv/boot runs in its machine: what takes the
// tests' commands, and a job.
//
//	inside serve DEVICE      runs the commands that come in by a serial line
//	inside job               connects once, and says what it got
//	inside jobs FILE         connects until FILE is there, and counts
//	inside session FILE      connects, and asks once more when FILE is there
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is what is protected. Whoever logs in there directly keeps the name
// that it gives itself; the agent puts its own in its place.
const database = "postgres://app@192.0.2.10:5432/shop?sslmode=disable&application_name=job"

const patience = 20 * time.Second // of one connection: the machine is emulated

// What a job may get.
const (
	served  = "served"  // by the agent
	direct  = "direct"  // by the server itself, around the agent
	refused = "refused" // ECONNREFUSED
	failed  = "failed"  // anything else
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "inside:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "serve":
		return serve(args[1])
	case len(args) == 1 && args[0] == "job":
		got, err := job()
		fmt.Println(got, why(err))
		return nil
	case len(args) == 2 && args[0] == "jobs":
		jobs(args[1])
		return nil
	}
	if len(args) == 2 && args[0] == "session" {
		return session(args[1])
	}
	return errors.New("usage: inside serve DEVICE | job | jobs FILE | session FILE")
}

// job connects, asks one question and says what it got.
func job() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, database)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return refused, nil
	}
	if err != nil {
		return failed, err
	}
	defer func() { _ = conn.Close(ctx) }()
	var name string
	if err := conn.QueryRow(ctx, "SELECT current_setting('application_name')").Scan(&name); err != nil {
		return failed, err
	}
	if strings.HasPrefix(name, "sluice/") {
		return served, nil
	}
	return direct, nil
}

// jobs prints how often each outcome was, and each change of it with its reason.
func jobs(end string) {
	counts := map[string]int{}
	last := ""
	for {
		if _, err := os.Stat(end); err == nil {
			break
		}
		got, err := job()
		counts[got]++
		if got != last {
			fmt.Println("then", got, why(err))
			last = got
		}
	}
	for _, outcome := range []string{served, direct, refused, failed} {
		fmt.Printf("%s=%d\n", outcome, counts[outcome])
	}
}

// session is open until a file is there, and then serves still.
func session(end string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	fmt.Println("open")
	for {
		if _, err := os.Stat(end); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if _, err := conn.Exec(ctx, "SELECT 1"); err != nil {
		return err
	}
	fmt.Println("still open")
	return nil
}

// why is an error on one line.
func why(err error) string {
	if err == nil {
		return ""
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}
