package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// sshHost is an OpenSSH server of the lab, in a network namespace of the same
// name, with one user beside root.
type sshHost struct {
	name    string // of its directory, network namespace and process
	server  string // as jobs know it
	secret  string // file of the key that signs the agent's certificates
	address byte
	user    string // whom the agent logs in as
	uid     int    // nobody else's on this machine
	shell   string
	accepts string // environment variables
	srv     string // a directory whose copy becomes the user's /srv; empty: there is none
}

// buildHost is where jobs run commands.
func (l *lab) buildHost() sshHost {
	return sshHost{
		name: "ssh", server: "ssh.lab", secret: "build-host", address: 4,
		user: "deploy", uid: 64540, shell: "/bin/bash", accepts: "LANG LC_*",
	}
}

// beHost makes a mount namespace look like a host of its own: with one user
// beside root, and homes that are empty and gone with the server.
const beHost = `uid=$0 user=$1 passwd=$2 srv=$3 hosts=$4 cgroup=$5 && shift 5 && echo $$ >"$cgroup/cgroup.procs" &&
mount --bind "$hosts" /etc/hosts && mount -t tmpfs -o mode=0755 tmpfs /home &&
install -d -o "$uid" -g "$uid" "/home/$user" && mount --bind "$passwd" /etc/passwd || exit 1
if [ -n "$srv" ]; then
	mount -t tmpfs -o mode=0755 tmpfs /srv && cp -r "$srv/." /srv && chown -R "$uid:$uid" /srv || exit 1
fi
exec "$@"`

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

// certifyHost signs a host's public key for its names, and returns the line of
// the certificate.
func certifyHost(authority, host []byte, names ...string) ([]byte, error) {
	signer, err := ssh.ParsePrivateKey(authority)
	if err != nil {
		return nil, err
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(host)
	if err != nil {
		return nil, err
	}
	certificate := &ssh.Certificate{Key: key, CertType: ssh.HostCert, KeyId: names[0], ValidPrincipals: names, ValidBefore: ssh.CertTimeInfinity}
	if err := certificate.SignCert(rand.Reader, signer); err != nil {
		return nil, err
	}
	return ssh.MarshalAuthorizedKey(certificate), nil
}

// startSSH starts the host where jobs run commands.
func (l *lab) startSSH() error { return errors.Join(l.makeHostsCgroup(), l.startHost(l.buildHost())) }

// makeHostsCgroup makes the cgroup of the SSH hosts. They stand for other
// machines: what they connect to is not the node's business, so that the agent
// exempts them.
func (l *lab) makeHostsCgroup() error {
	cgroup, err := netlab.NewCgroup(l.Node)
	if err != nil {
		return err
	}
	l.Hosts = cgroup.Path
	return errors.Join(cgroup.Leave(), l.save())
}

// removeHostsCgroup ends what is left of the hosts' sessions.
func (l *lab) removeHostsCgroup() error {
	if l.Hosts == "" {
		return nil
	}
	if _, err := os.Stat(l.Hosts); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.WriteFile(filepath.Join(l.Hosts, "cgroup.kill"), []byte("1"), 0o600); err != nil {
		return err
	}
	return waitFor(10*time.Second, func() bool { return os.Remove(l.Hosts) == nil })
}

// startHost starts an OpenSSH server with a host certificate. It admits whom
// the agent's user authority certifies, and nobody else. Who it is then is recorded in its log.
func (l *lab) startHost(h sshHost) error {
	host, hostPublic, err := newSSHKey()
	if err != nil {
		return err
	}
	users, usersPublic, err := newSSHKey()
	if err != nil {
		return err
	}
	hosts, hostsPublic, err := newSSHKey()
	if err != nil {
		return err
	}
	certificate, err := certifyHost(hosts, hostPublic, h.server, l.address(h.address))
	if err != nil {
		return err
	}
	known := fmt.Sprintf("@cert-authority %s,%s %s", h.server, l.address(h.address), hostsPublic)
	config := fmt.Sprintf(`ListenAddress 0.0.0.0
HostKey %[1]s
HostCertificate %[1]s-cert.pub
TrustedUserCAKeys %[2]s
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
AcceptEnv %[3]s
Subsystem sftp /usr/lib/openssh/sftp-server -l INFO
`, l.path(h.name, "host"), l.path(h.name, "users.pub"), h.accepts)
	err = errors.Join(
		l.write(string(host), h.name, "host"),
		l.write(string(certificate), h.name, "host-cert.pub"),
		l.write(string(usersPublic), h.name, "users.pub"),
		l.write(config, h.name, "sshd_config"),
		l.write(known, h.name, "known_hosts"),
		l.write(fmt.Sprintf("root:*:0:0:root:/home:/bin/bash\nsshd:*:65534:65534::/run/sshd:/usr/sbin/nologin\n%s:*:%d:%d::/home/%s:%s\n", h.user, h.uid, h.uid, h.user, h.shell), h.name, "passwd"),
		os.Chmod(l.path(h.name, "passwd"), 0o644), //nolint:gosec // it becomes /etc/passwd
		l.write(string(users), "secrets", h.secret),
		l.write(l.hostsFile(), h.name, "hosts"),
		os.Chmod(l.path(h.name, "hosts"), 0o644), //nolint:gosec // it becomes /etc/hosts
		os.MkdirAll("/run/sshd", 0o755),
	)
	if err != nil {
		return err
	}
	logFile := l.path(h.name + ".log")
	p, err := spawn(logFile, nil, l.inNetns(l.netnsOf(h.name), "unshare", "--mount", "--propagation", "private", "sh", "-c", beHost,
		fmt.Sprint(h.uid), h.user, l.path(h.name, "passwd"), h.srv, l.path(h.name, "hosts"), l.Hosts, "/usr/sbin/sshd", "-D", "-e", "-f", l.path(h.name, "sshd_config"))...)
	if err != nil {
		return err
	}
	if err := l.started(h.name, p); err != nil {
		return err
	}
	ready := func() bool { return strings.Contains(tail(logFile), "Server listening") }
	if err := waitFor(30*time.Second, func() bool { return !p.alive() || ready() }); err != nil || !p.alive() {
		return fmt.Errorf("it does not start: %s", tail(logFile))
	}
	return nil
}

// asHost is argv run on an SSH host, as its root.
func (l *lab) asHost(h sshHost, argv ...string) []string {
	return append([]string{
		"nsenter", "--target", fmt.Sprint(l.Processes[h.name].PID), "--mount", "--net", "--",
		"sh", "-c", `cd "$0" && exec "$@"`, "/home/" + h.user,
	}, argv...)
}

// hostResource is an SSH host as the agent protects it.
func (l *lab) hostResource(resource string, h sshHost) map[string]any {
	return map[string]any{
		"name": resource, "protocol": "ssh", "hosts": []string{h.server}, "port": 22,
		"credentials": []any{map[string]any{"user": h.user, "ca_key_file": l.path("secrets", h.secret)}},
		"server_ssh":  map[string]any{"known_hosts_file": l.path(h.name, "known_hosts")},
	}
}

// jobKnownHosts is where every ssh of a job looks, whoever runs it.
const jobKnownHosts = "/etc/ssh/ssh_known_hosts"

// knownHostsFile is what jobs believe of SSH hosts, as a fleet's owner would
// put it into their images.
func (l *lab) knownHostsFile() string { return l.path("agent", "trust", "ssh.key.known_hosts") }

// sshMount is Docker's volume option for it. A file cannot be mounted over
// where none is, in a directory that the job shares with this machine, so jobs
// get a copy of the directory, which the first of them makes.
func (l *lab) sshMount() (string, error) {
	dir := l.path("jobssh")
	mount := dir + ":" + filepath.Dir(jobKnownHosts) + ":ro"
	if _, err := os.Stat(dir); err == nil {
		return mount, nil
	}
	ours, err := os.MkdirTemp(l.dir, "jobssh-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(ours) }() // it has another name now, or another job was first
	if err := l.fillSSH(ours); err != nil {
		return "", err
	}
	if err := os.Rename(ours, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return mount, nil
}

// fillSSH copies this machine's client configuration into a directory, and adds
// what jobs believe.
func (l *lab) fillSSH(dir string) error {
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // every user of the job reads it
		return err
	}
	for _, name := range []string{"ssh_config", "ssh_config.d"} {
		if _, err := os.Stat("/etc/ssh/" + name); err != nil {
			continue
		}
		if _, err := command("cp", "-r", "/etc/ssh/"+name, dir); err != nil {
			return err
		}
	}
	known, err := os.ReadFile(l.knownHostsFile())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(jobKnownHosts)), known, 0o644) //nolint:gosec // likewise
}
