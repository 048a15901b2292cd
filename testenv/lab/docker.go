package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const jobImage = "sluice-lab/job"

// hidden are the top-level directories that a job does not share with this
// machine: the kernel's, the daemons', and root's.
var hidden = map[string]bool{"proc": true, "sys": true, "dev": true, "run": true, "root": true, "lost+found": true}

// readOnly are those that a job shares but cannot change: through them it
// would be root on the node, and its identity worth nothing.
var readOnly = map[string]bool{"boot": true, "etc": true, "opt": true, "usr": true, "var": true}

// dockerDir is below /run, which no job sees.
func (l *lab) dockerDir() string { return filepath.Join("/run", l.Node) }

func (l *lab) dockerSocket() string { return filepath.Join(l.dockerDir(), "docker.sock") }

func (l *lab) docker(args ...string) []string {
	return append([]string{"docker", "--host", "unix://" + l.dockerSocket()}, args...)
}

// startDocker starts a Docker daemon whose bridge and firewall rules live in
// the node's network namespace, and makes the image that jobs run from.
func (l *lab) startDocker() error {
	if err := os.MkdirAll(l.dockerDir(), 0o700); err != nil {
		return err
	}
	logFile := l.path("docker.log")
	p, err := spawn(logFile, nil, l.inNetns(l.Node, "dockerd",
		"--data-root", l.path("docker"),
		"--exec-root", l.dockerDir(),
		"--pidfile", filepath.Join(l.dockerDir(), "pid"),
		"--host", "unix://"+l.dockerSocket(),
		"--bip", bridge)...)
	if err != nil {
		return err
	}
	if err := l.started("docker", p); err != nil {
		return err
	}
	up := func() bool { _, err := command(l.docker("version")...); return err == nil }
	if err := waitFor(60*time.Second, func() bool { return !p.alive() || up() }); err != nil || !p.alive() {
		return fmt.Errorf("dockerd does not start: %s", tail(logFile))
	}
	return l.importImage()
}

// importImage makes an image that is nothing but mount points for this
// machine's own top-level directories.
func (l *lab) importImage() error {
	var image bytes.Buffer
	if err := writeRoot(&image); err != nil {
		return fmt.Errorf("job image: %w", err)
	}
	argv := l.docker("import", "-", jobImage)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = &image
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w\n%s", err, out)
	}
	return nil
}

func writeRoot(w io.Writer) error {
	entries, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	out := tar.NewWriter(w)
	for _, entry := range entries {
		header := &tar.Header{Name: entry.Name(), Typeflag: tar.TypeDir, Mode: 0o755}
		if entry.Type()&os.ModeSymlink != 0 {
			target, err := os.Readlink("/" + entry.Name())
			if err != nil {
				return err
			}
			header.Typeflag, header.Linkname = tar.TypeSymlink, target
		} else if !entry.IsDir() {
			continue
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
	}
	return out.Close()
}

// jobAuthority is where a job finds the authority of the client legs, which a
// fleet's owner would put into the images.
const jobAuthority = "/run/sluice/ca.pem"

// job runs a command as an unmodified CI job: a container with its own network
// namespace and cgroup, Docker's default capabilities and seccomp profile, and
// this machine's file system without what hidden names and the lab's state.
func (l *lab) job(args []string) error {
	options, cmd, err := afterDashes(args)
	if err != nil {
		return err
	}
	run := []string{"create", "--rm", "--interactive", "--tmpfs", "/sys/fs/cgroup", "--tmpfs", l.dir}
	if isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		run = append(run, "--tty")
	}
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=/root", "CI=true", "GIT_SSL_CAINFO=" + jobAuthority}
	commit := ""
	for len(options) > 0 {
		if len(options) < 2 {
			return fmt.Errorf("%s needs a value", options[0])
		}
		switch options[0] {
		case "--name":
			run = append(run, "--name", options[1])
		case "--env":
			env = append(env, options[1])
		case "--label":
			run = append(run, "--label", options[1])
		case "--commit":
			commit = options[1]
		default:
			return fmt.Errorf("unknown option %s: --name N, --env K=V, --label K=V or --commit ID", options[0])
		}
		options = options[2:]
	}
	for _, pair := range env {
		run = append(run, "--env", pair)
	}
	for name, address := range l.servers() {
		run = append(run, "--add-host", name+":"+address)
	}
	mounts, err := sharedDirectories()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		run = append(run, "--volume", mount)
	}
	hosts, err := l.sshMount()
	if err != nil {
		return err
	}
	if l.Kube {
		run = append(run, "--volume", l.kubeconfigMount())
	}
	run = append(run, "--volume", hosts, "--volume", l.path("agent", "trust", "ca.pem")+":"+jobAuthority+":ro")
	run = append(run, "--workdir", visibleDirectory(l.dir), jobImage)
	id, err := command(l.docker(append(run, cmd...)...)...)
	if err != nil {
		return err
	}
	id = strings.TrimSpace(id)
	if err := l.projectToken(id, commit); err != nil {
		return err
	}
	return attached(nil, l.docker("start", "--attach", "--interactive", id)...)
}

// sharedDirectories returns Docker's volume options for what a job sees of this
// machine.
func sharedDirectories() ([]string, error) {
	entries, err := os.ReadDir("/")
	if err != nil {
		return nil, err
	}
	var volumes []string
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() || hidden[name] {
			continue
		}
		volume := "/" + name + ":/" + name
		if readOnly[name] || strings.HasPrefix(name, "lib") || strings.HasSuffix(name, "bin") {
			volume += ":ro"
		}
		volumes = append(volumes, volume)
	}
	return volumes, nil
}

// visibleDirectory is the caller's directory, or the root where the job does
// not see that directory.
func visibleDirectory(state string) string {
	dir, err := os.Getwd()
	if err != nil || dir == state || strings.HasPrefix(dir, state+"/") {
		return "/"
	}
	top, _, _ := strings.Cut(strings.TrimPrefix(dir, "/"), "/")
	if hidden[top] {
		return "/"
	}
	return dir
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// stopDocker removes what jobs left and ends the daemon with its containers.
func (l *lab) stopDocker() error {
	if l.Node == "" {
		return nil // there is no lab, and its directory would be /run itself
	}
	if p := l.Processes["docker"]; p.alive() {
		if ids, err := command(l.docker("ps", "--all", "--quiet")...); err == nil {
			for _, id := range strings.Fields(ids) {
				_, _ = command(l.docker("rm", "--force", id)...)
			}
		}
	}
	if err := l.Processes["docker"].end(syscall.SIGTERM, 30*time.Second); err != nil {
		return err
	}
	return os.RemoveAll(l.dockerDir())
}
