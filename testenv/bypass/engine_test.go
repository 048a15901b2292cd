package bypass

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	// jobImage is nothing but mount points for this machine's programs.
	jobImage = "sluice-bypass/job"
	// bridge is the node's address on the network of the containers, in the
	// range for benchmarks (RFC 2544). It exists on this node only.
	bridge = "198.18.0.1/24"
)

// engine is a Docker daemon of the node's own.
type engine struct {
	world              *world
	gateway4, gateway6 netip.Addr
	folders            []string // what containers share of this machine, as volume options
}

func (e *engine) socket() string { return filepath.Join(e.world.dir, "docker.sock") }

func (e *engine) command(args ...string) []string {
	return append([]string{"docker", "--host", "unix://" + e.socket()}, args...)
}

func (w *world) startEngine() error {
	w.engine = &engine{world: w}
	log, err := os.Create(filepath.Join(w.dir, "docker.log"))
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the daemon has its own
	prefix6 := w.slice.V6.Addr().As16()
	prefix6[9] = 1
	cmd := exec.Command("dockerd", "--data-root", filepath.Join(w.dir, "data"), "--exec-root", filepath.Join(w.dir, "exec"),
		"--pidfile", filepath.Join(w.dir, "docker.pid"), "--host", "unix://"+w.engine.socket(), "--bip", bridge,
		"--ipv6", "--fixed-cidr-v6", netip.PrefixFrom(netip.AddrFrom16(prefix6), 80).String())
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.later(func() error { return w.engine.stop(cmd.Process, ended) })
	up := func() bool { return command(w.engine.command("version")...) == nil }
	for tick := time.NewTicker(50 * time.Millisecond); !up(); {
		select {
		case err := <-ended:
			text, _ := os.ReadFile(log.Name())
			return errors.Join(err, errors.New(string(text)))
		case <-tick.C:
		}
	}
	if err := w.engine.importImage(); err != nil {
		return err
	}
	return w.engine.findGateways()
}

// stop removes all containers and ends the daemon.
func (e *engine) stop(daemon *os.Process, ended chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ids, err := output(ctx, e.command("ps", "--all", "--quiet")...)
	for _, id := range strings.Fields(ids) {
		err = errors.Join(err, command(e.command("rm", "--force", id)...))
	}
	if err := daemon.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-ended:
		return err
	case <-ctx.Done():
		return errors.Join(err, errors.New("dockerd does not end"), daemon.Kill())
	}
}

// importImage makes the job's image, and decides what it shares.
func (e *engine) importImage() error {
	var image bytes.Buffer
	out := tar.NewWriter(&image)
	for _, name := range []string{"bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr", "var"} {
		header := &tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o755}
		switch link, err := os.Readlink("/" + name); {
		case err == nil:
			header.Typeflag, header.Linkname = tar.TypeSymlink, link
		case name == "bin" || name == "etc" || name == "lib" || name == "lib64" || name == "sbin" || name == "usr":
			e.folders = append(e.folders, "/"+name+":/"+name+":ro")
		}
		if err := out.WriteHeader(header); err != nil {
			return err
		}
	}
	if err := out.Close(); err != nil {
		return err
	}
	e.folders = append(e.folders, e.world.dir+"/bin:/attack:ro", e.world.dir+"/share:/share")
	argv := e.command("import", "-", jobImage)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = &image
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w\n%s", err, text)
	}
	return nil
}

func (e *engine) findGateways() error {
	link, err := net.InterfaceByName("docker0")
	if err != nil {
		return err
	}
	addrs, err := link.Addrs()
	if err != nil {
		return err
	}
	for _, a := range addrs {
		prefix, err := netip.ParsePrefix(a.String())
		switch {
		case err != nil || prefix.Addr().IsLinkLocalUnicast():
		case prefix.Addr().Is4():
			e.gateway4 = prefix.Addr()
		default:
			e.gateway6 = prefix.Addr()
		}
	}
	return nil
}

// run is docker run with a job's image and mounts.
func (e *engine) run(options []string, argv ...string) []string {
	args := append([]string{"run", "--rm", "--interactive"}, options...)
	return e.command(append(append(args, e.like()...), argv...)...)
}

// like is what makes a container a job.
func (e *engine) like() []string {
	var args []string
	for _, folder := range e.folders {
		args = append(args, "--volume", folder)
	}
	return append(args, jobImage)
}

// job is a container in which the attacker waits for orders.
type job struct {
	world  *world
	name   string
	onNode bool       // in the node's own network namespace
	hop    netip.Addr // its next one, where that is not Docker's bridge
	in     io.WriteCloser
	out    *bufio.Reader
}

// newJob starts a container that ends with the test.
func (w *world) newJob(t testing.TB, name string, options ...string) *job {
	t.Helper()
	return w.newJobBy(t, w.engine.run, name, options...)
}

// newJobBy starts one as run does.
func (w *world) newJobBy(t testing.TB, run func(options []string, argv ...string) []string, name string, options ...string) *job {
	t.Helper()
	name = fmt.Sprintf("%s-%d", name, time.Now().UnixNano())
	argv := run(append([]string{"--name", name}, options...), "/attack/attacker", "serve")
	cmd := exec.Command(argv[0], argv[1:]...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close() // the attacker ends with its input
		if err := cmd.Wait(); err != nil || errs.Len() > 0 {
			t.Logf("container %s: %v %s", name, err, errs.String())
		}
	})
	return &job{world: w, name: name, onNode: slices.Contains(options, "host"), in: in, out: bufio.NewReader(out)}
}

// seen is what the attacker reports.
type seen struct {
	Saw    string
	Gained bool
}

// try lets the attacker try a technique. Each time that it pauses, the next of
// midway is done.
func (j *job) try(t testing.TB, technique string, to target, midway ...func()) seen {
	t.Helper()
	if j.hop.IsValid() {
		to.Gateway = j.hop
	}
	text, err := json.Marshal(to)
	must(t, err)
	_, err = fmt.Fprintf(j.in, "%s %s\n", technique, text)
	must(t, err)
	for {
		line, err := j.out.ReadString('\n')
		if err != nil {
			t.Fatalf("the attacker in %s has ended: %v", j.name, err)
		}
		if line != "pause\n" {
			var s seen
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatalf("the attacker says %q: %v", line, err)
			}
			return s
		}
		if len(midway) > 0 {
			midway[0]()
			midway = midway[1:]
		}
		_, err = io.WriteString(j.in, "go on\n")
		must(t, err)
	}
}

// target is what the attacker is told; see the attacker's own.
type target struct {
	Server4, Server6, Innocent, Gateway, Gateway6 netip.Addr
	Port, Leg, Open, Listener                     uint16
	Share                                         string
	Agent                                         int
	Pins                                          string
	Links                                         []uint32
	Run                                           []string
}

func (w *world) target() target {
	return target{
		Server4: w.server4, Server6: w.server6, Innocent: w.innocent,
		Gateway: w.engine.gateway4, Gateway6: w.engine.gateway6,
		Port: sealedPort, Leg: legPort, Open: openPort, Listener: w.slice.Port,
		Share: "/share", Agent: pid(), Pins: w.agent.pins, Links: w.agent.links, Run: w.engine.like(),
	}
}

// control is the same for the address that is not protected.
func (w *world) control() target {
	to := w.target()
	to.Server4, to.Server6 = w.open4, w.open6
	return to
}
