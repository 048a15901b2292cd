package main

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

//go:embed shop.mysql.sql
var shopMySQL string

// asMySQL is argv run as the user mysql, which may pass through directories
// that only root may enter, and has temporary files beside its data: root's
// TMPDIR is not its own.
func (l *lab) asMySQL(argv ...string) []string {
	return append([]string{
		"setpriv", "--reuid=mysql", "--regid=mysql", "--init-groups",
		"--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--", "env", "TMPDIR=" + l.path("mysql"),
	}, argv...)
}

func (l *lab) mysqlSocket() string { return l.path("mysql", "socket") }

// startMySQL starts MariaDB beside the rest, in the netns of the other database.
// wait returns once it answers.
func (l *lab) startMySQL() (wait func() error) {
	done := make(chan error, 1)
	go func() { done <- l.runMySQL() }()
	return sync.OnceValue(func() error { return <-done })
}

// runMySQL starts a server that admits the user app by password over TLS only,
// so that whoever reaches it without the agent's credential is refused.
func (l *lab) runMySQL() error {
	password, err := l.secret("shop-mysql")
	if err != nil {
		return err
	}
	dir, data := l.path("mysql"), l.path("mysql", "data")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	keyFile, certFile, seed := filepath.Join(dir, "server.key"), filepath.Join(dir, "server.crt"), filepath.Join(dir, "seed.sql")
	if err := l.authority.issue(keyFile, certFile, "mysql.lab", l.address(2)); err != nil {
		return err
	}
	text := shopMySQL + "CREATE USER app IDENTIFIED BY '" + password + "';\nGRANT ALL ON shop.* TO app;\n"
	if err := os.WriteFile(seed, []byte(text), 0o600); err != nil {
		return err
	}
	client := "[client]\nsocket=" + l.mysqlSocket() + "\n" // read behind the machine's own, for admin
	if err := os.WriteFile(filepath.Join(dir, "my.cnf"), []byte(client), 0o644); err != nil {
		return err
	}
	if _, err := command("chown", "-R", "mysql:mysql", dir); err != nil {
		return err
	}
	if _, err := command(l.asMySQL("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")...); err != nil {
		return err
	}
	p, err := spawn(l.path("mysql.log"), []*os.File{l.slice.Lock()}, l.inNetns(l.netnsOf("pg"), l.asMySQL("mariadbd", "--no-defaults", "--datadir="+data,
		"--bind-address=0.0.0.0", "--port=3306", "--socket="+l.mysqlSocket(), "--pid-file="+filepath.Join(dir, "pid"), "--skip-name-resolve",
		"--require-secure-transport=ON", "--ssl-cert="+certFile, "--ssl-key="+keyFile, "--init-file="+seed,
		"--general-log=ON", "--general-log-file="+filepath.Join(dir, "general.log"),
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=16M", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=1M")...)...)
	if err != nil {
		return err
	}
	if err := l.started("mysql", p); err != nil {
		return err
	}
	ready := func() bool {
		out, err := command("mariadb", "--no-defaults", "--socket="+l.mysqlSocket(), "-N", "-e", "SELECT COUNT(*) FROM mysql.user WHERE User = 'app'")
		return err == nil && strings.TrimSpace(out) == "1"
	}
	if err := waitFor(time.Minute, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(l.path("mysql.log")))
	}
	return os.Remove(seed)
}

// mysqlResource is the resource that the lab's policy has for it.
func (l *lab) mysqlResource() map[string]any {
	return map[string]any{
		"name": "shop-mysql", "protocol": "mysql", "hosts": []string{"mysql.lab"}, "port": 3306,
		"credentials": []any{map[string]any{"user": "app", "password_file": l.path("secrets", "shop-mysql")}},
		"server_tls":  map[string]any{"mode": "verify-full", "ca_file": l.caFile()},
	}
}
