package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// relayRole is the argument by which this binary is a relay: it listens at one
// address, and joins each connection to a new one to another. An address is
// "network=address".
const relayRole = "relay"

func relay(from, to string) error {
	network, address, _ := strings.Cut(from, "=")
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	for {
		client, err := l.Accept()
		if err != nil {
			return err
		}
		go join(client, to)
	}
}

// join copies both ways until either end is closed.
func join(client net.Conn, to string) {
	network, address, _ := strings.Cut(to, "=")
	server, err := net.Dial(network, address)
	if err != nil {
		_ = client.Close()
		return
	}
	ended := make(chan struct{}, 2)
	for _, leg := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(leg[1], leg[0])
			ended <- struct{}{}
		}()
	}
	<-ended
	_, _ = client.Close(), server.Close()
}

// labState is what the lab writes down for its own commands.
func labState(t *testing.T) (node, address string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct{ Node string }
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	var status struct{ Console string }
	if err := json.Unmarshal([]byte(run("status", "--json").out), &status); err != nil {
		t.Fatal(err)
	}
	console, err := url.Parse(status.Console)
	if err != nil {
		t.Fatal(err)
	}
	return state.Node, console.Hostname()
}

// startDatabaseContainer makes a container that is the database for whoever
// reaches its port 5432, and publishes that on all addresses of the node. The
// way from there to the real server is a unix socket that nobody else has. It
// returns the container's address.
func startDatabaseContainer(t *testing.T, node string) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	share := t.TempDir()
	behind := exec.Command("nsenter", "--net=/run/netns/"+node+"-pg", "--", exe, relayRole,
		"unix="+filepath.Join(share, "pg"), "tcp=127.0.0.1:5432")
	behind.Stderr = os.Stderr
	if err := behind.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = behind.Process.Kill()
		_ = behind.Wait()
	})
	name := fmt.Sprintf("database-%d", time.Now().UnixNano())
	docker(t, node, "run", "--detach", "--rm", "--name", name, "--publish", "14432:5432", "--volume", exe+":/relay:ro",
		"--volume", share+":/share", "--volume", "/lib:/lib:ro", "--volume", "/usr:/usr:ro", "--volume", "/lib64:/lib64:ro",
		"sluice-lab/job", "/relay", relayRole, "tcp=:5432", "unix=/share/pg")
	t.Cleanup(func() { docker(t, node, "rm", "--force", name) })
	return docker(t, node, "inspect", "--format", "{{.NetworkSettings.IPAddress}}", name)
}

func docker(t *testing.T, node string, args ...string) string {
	t.Helper()
	out, err := exec.Command("docker", append([]string{"--host", "unix:///run/" + node + "/docker.sock"}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// alsoAt gives the agent's name of the database one more address, for this
// test.
func alsoAt(t *testing.T, address string) {
	t.Helper()
	file := filepath.Join(lab.dir, "agent", "hosts") // it is mounted, so it must stay the same file
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(before, address+" pg.lab\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(file, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}

func TestPublishedPortOfTheDatabaseIsOneSessionOfTheJobs(t *testing.T) {
	node, address := labState(t)
	alsoAt(t, startDatabaseContainer(t, node))
	ask := func(job string) result {
		return run("job", "--name", job, "--env", "PGCONNECT_TIMEOUT=5", "--", "psql", "--no-psqlrc", "-h", address, "-p", "14432",
			"-U", "app", "-At", "shop", "-c", "SELECT ssn FROM customers WHERE id = 1")
	}
	eventually(t, "the published port is the resource", func() bool { return ask("early").out == "[redacted]\n" })

	began, job := time.Now(), fmt.Sprintf("asks-%d", time.Now().UnixNano())
	if r := ask(job); r.out != "[redacted]\n" {
		t.Fatalf("the job got %s", r.all())
	}
	s := newest(t, began, func(s sessionView) bool { return s.Resource == "shop-db" })
	if s.Orch["name"] != job {
		t.Errorf("the session is %v's, not the job's", s.Orch)
	}
	var all []sessionView
	if err := json.Unmarshal([]byte(ctl(t, "sessions", "--json", "--limit", "20")), &all); err != nil {
		t.Fatal(err)
	}
	for _, other := range all {
		if other.Started.After(began) && other.ID != s.ID {
			t.Errorf("there is a second session, of %v", other.Orch)
		}
	}
}
