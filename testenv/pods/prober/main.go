// Command prober is a job: the first thing that it does is to connect to a
// database, with nothing but an address.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// said is where Kubernetes reads a container's last words.
const said = "/dev/termination-log"

func main() {
	query := flag.String("query", "SELECT current_user", "what to ask")
	every := flag.Duration("every", 0, "ask again and again, on one connection; 0: once")
	report := flag.Bool("report", false, "do not end with the connection: say what became of it, and of each attempt after it")
	pretend := flag.String("pretend", "", "a cgroup to make and enter before that")
	plant := flag.String("plant", "", "a symbolic link to make before that, as LINK=TARGET")
	listen := flag.String("listen", "", "an address to accept connections at meanwhile")
	flag.Parse()
	if *pretend != "" {
		fmt.Println("pretend:", errors.Join(os.MkdirAll(*pretend, 0o755), os.WriteFile(*pretend+"/cgroup.procs", []byte("0"), 0o600)))
	}
	if link, target, wanted := strings.Cut(*plant, "="); wanted {
		fmt.Println("plant:", os.Symlink(target, link))
	}
	if *listen != "" {
		go accept(*listen)
	}
	err := ask(flag.Arg(0), *query, *every)
	for *report {
		fmt.Println(reason(err))
		time.Sleep(100 * time.Millisecond)
		err = ask(flag.Arg(0), *query, *every)
	}
	if err != nil {
		last(reason(err))
		os.Exit(1)
	}
}

// ask connects and asks.
func ask(address, query string, every time.Duration) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, "postgres://app@"+address+"/shop?sslmode=disable&connect_timeout=20")
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // the answer is what counts
	for {
		var answer string
		if err := conn.QueryRow(ctx, query).Scan(&answer); err != nil {
			return err
		}
		last(answer)
		if every == 0 {
			return nil
		}
		time.Sleep(every)
	}
}

// accept is there for whoever probes.
func accept(at string) {
	listener, err := net.Listen("tcp", at)
	for err == nil {
		var conn net.Conn
		if conn, err = listener.Accept(); err == nil {
			_ = conn.Close()
		}
	}
	fmt.Println("accept:", err)
}

// reason is what stopped a connection, in one word where it has one.
func reason(err error) string {
	var network *net.OpError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.As(err, &network):
		return network.Error()
	}
	return fmt.Sprint(err)
}

func last(words string) {
	fmt.Println(words)
	_ = os.WriteFile(said, []byte(words), 0o600) // outside of Kubernetes there is none
}
