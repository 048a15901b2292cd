package mysql_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is a real MariaDB of this test binary's own.
type server struct {
	port    int
	dir     string
	process *exec.Cmd
	ended   chan struct{}

	roots       *x509.CertPool // of its certificate, for the name mysql.example
	certificate tls.Certificate
}

var (
	serverOnce sync.Once
	shared     *server
	serverErr  error
)

func TestMain(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.stop()
	}
	os.Exit(code)
}

// realServer starts MariaDB the first time it is called. The job's user is app.
func realServer(t testing.TB) *server {
	t.Helper()
	serverOnce.Do(func() { shared, serverErr = startServer() })
	if serverErr != nil {
		t.Fatalf("start MariaDB: %v", serverErr)
	}
	return shared
}

func startServer() (*server, error) {
	dir, err := os.MkdirTemp("", "sluice-mysql-")
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir, ended: make(chan struct{})}
	if err := os.Chmod(dir, 0o777); err != nil {
		return nil, err
	}
	if s.roots, s.certificate, err = writeCertificate(dir); err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	install := exec.Command("mariadb-install-db", "--no-defaults", "--user=mysql", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := install.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return nil, err
	}
	// By setpriv, as a server that changes its user by itself outlives a test that
	// is killed.
	s.process = exec.Command("setpriv", "--reuid=mysql", "--regid=mysql", "--clear-groups", "--pdeathsig=KILL", "mariadbd", "--no-defaults", "--datadir="+data, "--bind-address=127.0.0.1", "--port="+strconv.Itoa(s.port),
		"--socket="+s.socket(), "--pid-file="+filepath.Join(dir, "pid"), "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--key-buffer-size=1M",
		"--general-log=1", "--general-log-file="+filepath.Join(dir, "general.log"), "--log-error="+filepath.Join(dir, "error.log"), "--plugin-load-add=auth_ed25519",
		"--ssl-cert="+filepath.Join(dir, "server.crt"), "--ssl-key="+filepath.Join(dir, "server.key"), "--performance-schema=ON", "--skip-name-resolve", "--local-infile=ON",
		"--character-set-server=utf8mb4", "--lower-case-table-names=0")
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = s.process.Wait() // however it ended
		close(s.ended)
	}()
	if !within(time.Minute, func() bool { _, err = s.query("SELECT 1"); return err == nil }) {
		return s, err
	}
	return s, s.sql(
		"CREATE USER app@'%' IDENTIFIED BY 'app-secret'", "CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('ed-secret')",
		"CREATE USER old@'%' IDENTIFIED BY ''",
		"CREATE DATABASE shop", "GRANT ALL ON shop.* TO app@'%', ed@'%', old@'%'", "GRANT PROCESS ON *.* TO app@'%'", "GRANT SELECT ON performance_schema.* TO app@'%'",
	)
}

func (s *server) socket() string { return filepath.Join(s.dir, "socket") }

// sql runs statements as the administrator, around the agent.
func (s *server) sql(statements ...string) error {
	_, err := s.query(strings.Join(statements, ";\n"))
	return err
}

// query returns what the administrator's query gives.
func (s *server) query(statement string) (string, error) {
	cmd := exec.Command("mariadb", "--no-defaults", "-N", "-B", "-S", s.socket(), "-u", "root")
	cmd.Stdin = strings.NewReader(statement)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("mariadb: %w: %s", err, out)
	}
	return string(out), err
}

// logged returns what the server was asked to do since the last call.
func (s *server) log(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, "general.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *server) stop() {
	_ = s.process.Process.Kill() // nothing of it is kept
	<-s.ended
	_ = os.RemoveAll(s.dir) // what is left of it is in the temporary directory
}

// mariadb runs the command line client as a job would, with a password that is
// not the server's.
func (p *proxy) mariadb(t testing.TB, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	return p.client(t, "", "mariadb", append([]string{"shop"}, args...)...)
}

func (p *proxy) client(t testing.TB, input, program string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, append([]string{"--no-defaults", "-h", "127.0.0.1", "-P", strconv.Itoa(p.port), "-u", "job", "-pwhat-the-job-believes"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}
