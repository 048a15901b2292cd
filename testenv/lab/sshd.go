package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

const (
	hostUser = "deploy" // whom the agent logs in as on the lab's SSH host
	hostUID  = 64540    // nobody else's on this machine
)

// beHost makes a mount namespace look like a host of its own: with one user
// beside root, and homes that are empty and gone with the server.
const beHost = `mount -t tmpfs -o mode=0755 tmpfs /home &&
install -d -o "$0" -g "$0" /home/deploy &&
mount --bind "$1" /etc/passwd && shift && exec "$@"`

// newSSHKey makes an Ed25519 key in OpenSSH's format, and its public line.
func newSSHKey() (key, public []byte, err error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	block, err := ssh.MarshalPrivateKey(private, "sluice lab")
	if err != nil {
		return nil, nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(block), ssh.MarshalAuthorizedKey(signer.PublicKey()), nil
}

// startSSH starts an OpenSSH server that admits whom the agent's user
// authority certifies, and nobody else. Who it is then is recorded in its log.
func (l *lab) startSSH() error {
	host, hostPublic, err := newSSHKey()
	if err != nil {
		return err
	}
	users, usersPublic, err := newSSHKey()
	if err != nil {
		return err
	}
	known := fmt.Sprintf("ssh.lab,%s %s", l.address(4), hostPublic)
	config := fmt.Sprintf(`ListenAddress 0.0.0.0
HostKey %s
TrustedUserCAKeys %s
AuthorizedKeysFile none
PidFile none
LogLevel VERBOSE
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin no
UsePAM no
StrictModes no
MaxStartups 100
MaxSessions 64
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server -l INFO
`, l.path("sshd", "host"), l.path("sshd", "users.pub"))
	err = errors.Join(
		l.write(string(host), "sshd", "host"),
		l.write(string(usersPublic), "sshd", "users.pub"),
		l.write(config, "sshd", "sshd_config"),
		l.write(known, "sshd", "known_hosts"),
		l.write(fmt.Sprintf("root:*:0:0:root:/home:/bin/bash\nsshd:*:65534:65534::/run/sshd:/usr/sbin/nologin\n%s:*:%d:%d::/home/deploy:/bin/bash\n", hostUser, hostUID, hostUID), "sshd", "passwd"),
		os.Chmod(l.path("sshd", "passwd"), 0o644), //nolint:gosec // it becomes /etc/passwd
		l.write(string(users), "secrets", "build-host"),
		os.MkdirAll("/run/sshd", 0o755),
	)
	if err != nil {
		return err
	}
	logFile := l.path("sshd.log")
	p, err := spawn(logFile, nil, l.inNetns(l.netnsOf("ssh"), "unshare", "--mount", "--propagation", "private", "sh", "-c", beHost,
		fmt.Sprint(hostUID), l.path("sshd", "passwd"), "/usr/sbin/sshd", "-D", "-e", "-f", l.path("sshd", "sshd_config"))...)
	if err != nil {
		return err
	}
	if err := l.started("sshd", p); err != nil {
		return err
	}
	ready := func() bool { return strings.Contains(tail(logFile), "Server listening") }
	if err := waitFor(30*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(logFile))
	}
	return nil
}

// asHost is argv run on the SSH host, as its root.
func (l *lab) asHost(argv ...string) []string {
	return append([]string{
		"nsenter", "--target", fmt.Sprint(l.Processes["sshd"].PID), "--mount", "--net", "--",
		"sh", "-c", `cd "$0" && exec "$@"`, "/home/" + hostUser,
	}, argv...)
}

// hostResource is the lab's SSH host as the agent protects it.
func (l *lab) hostResource() map[string]any {
	return map[string]any{
		"name": "build-host", "protocol": "ssh", "hosts": []string{"ssh.lab"}, "port": 22,
		"credentials": []any{map[string]any{"user": hostUser, "ca_key_file": l.path("secrets", "build-host")}},
		"server_ssh":  map[string]any{"known_hosts_file": l.path("sshd", "known_hosts")},
	}
}

// jobKnownHosts is where every ssh of a job looks, whoever runs it.
const jobKnownHosts = "/etc/ssh/ssh_known_hosts"

// knownHostsFile is what jobs believe of SSH hosts, as a fleet's owner would
// put it into their images.
func (l *lab) knownHostsFile() string { return l.path("agent", "trust", "ssh.key.known_hosts") }

// sshMount is Docker's volume option for it. A file cannot be mounted over
// where none is, in a directory that the job shares with this machine, so the
// job gets a copy of the directory.
func (l *lab) sshMount() (string, error) {
	dir := l.path("jobssh")
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range []string{"ssh_config", "ssh_config.d"} {
		if _, err := os.Stat("/etc/ssh/" + name); err != nil {
			continue
		}
		if _, err := command("cp", "-r", "/etc/ssh/"+name, dir); err != nil {
			return "", err
		}
	}
	known, err := os.ReadFile(l.knownHostsFile())
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, filepath.Base(jobKnownHosts))
	if err := os.WriteFile(file, known, 0o644); err != nil { //nolint:gosec // every user of the job reads it
		return "", err
	}
	return dir + ":" + filepath.Dir(jobKnownHosts) + ":ro", nil
}
