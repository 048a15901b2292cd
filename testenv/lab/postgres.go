package main

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

//go:embed shop.sql
var shopSQL string

// asPostgres is argv run as the user postgres (the server refuses root) but
// able to pass through directories that only root may enter, since the state
// directory can be below one.
func asPostgres(argv ...string) []string {
	return append([]string{
		"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
		"--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--",
	}, argv...)
}

// postgresBin returns the directory of the newest PostgreSQL server on this
// machine.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("no PostgreSQL server below /usr/lib/postgresql: run scripts/install-deps")
	}
	sort.Strings(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// startPostgres starts a server that admits the role app by password over TLS
// only, so that whoever reaches it without the agent's credential is refused.
func (l *lab) startPostgres() error {
	bin, err := postgresBin()
	if err != nil {
		return err
	}
	data, socket := l.path("pg", "data"), l.path("pg", "socket")
	for _, dir := range []string{l.path("pg"), socket} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if _, err := command("chown", "-R", "postgres:postgres", l.path("pg")); err != nil {
		return err
	}
	if _, err := command(asPostgres(bin+"/initdb", "--pgdata="+data, "--auth=trust",
		"--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")...); err != nil {
		return err
	}
	keyFile, certFile := filepath.Join(data, "server.key"), filepath.Join(data, "server.crt")
	if err := l.authority.issue(keyFile, certFile, "pg.lab", l.address(2)); err != nil {
		return err
	}
	if _, err := command("chown", "postgres:postgres", keyFile, certFile); err != nil {
		return err
	}
	hba := "local all postgres trust\nhostssl all all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		return err
	}
	p, err := spawn(l.path("postgres.log"), []*os.File{l.slice.Lock()}, l.inNetns(l.netnsOf("pg"), asPostgres(bin+"/postgres", "-D", data,
		"-c", "listen_addresses=*", "-c", "unix_socket_directories="+socket,
		"-c", "ssl=on", "-c", "log_line_prefix=%m [%p] %a ", "-c", "log_connections=on")...)...)
	if err != nil {
		return err
	}
	if err := l.started("postgres", p); err != nil {
		return err
	}
	ready := func() bool { _, err := command(bin+"/pg_isready", "--quiet", "--host="+socket); return err == nil }
	if err := waitFor(30*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(l.path("postgres.log")))
	}
	return l.seedShop()
}

// seedShop makes the database with the customers of the demonstration. The
// agent's password is random and kept where no job sees it.
func (l *lab) seedShop() error {
	password, err := l.secret("shop-db")
	if err != nil {
		return err
	}
	psql := exec.Command("psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
		"--host="+l.path("pg", "socket"), "--username=postgres", "--dbname=postgres", "--set=password="+password)
	psql.Stdin = strings.NewReader(shopSQL)
	if out, err := psql.CombinedOutput(); err != nil {
		return fmt.Errorf("seed: %w\n%s", err, out)
	}
	return nil
}

// admin runs a command beside a server, around the agent.
func (l *lab) admin(args []string) error {
	before, cmd, err := afterDashes(args)
	if err != nil {
		return err
	}
	if len(before) != 1 {
		return errors.New("admin takes a server: pg, mysql, ssh, git, web or kube")
	}
	switch before[0] {
	case "ssh":
		return attached(nil, l.asHost(l.buildHost(), cmd...)...)
	case "git":
		return attached(nil, l.asGit(cmd...)...)
	case "web":
		return l.besideWeb(cmd)
	case "kube":
		if !l.Kube {
			return errors.New("this lab was started without kube")
		}
		env, argv := l.asKube(cmd...)
		return attached(env, argv...)
	case "mysql":
		return attached([]string{"MYSQL_HOME=" + l.path("mysql")}, l.inNetns(l.netnsOf("pg"), cmd...)...)
	case "pg":
	default:
		return fmt.Errorf("admin takes a server: pg, mysql, ssh, git, web or kube, not %q", before[0])
	}
	env := []string{"PGHOST=" + l.path("pg", "socket"), "PGUSER=postgres", "PGDATABASE=shop"}
	return attached(env, l.inNetns(l.netnsOf("pg"), cmd...)...)
}
