package bypass

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/redirect"
)

// podman is a Podman of the node's own, without a service: it is what makes
// containers, and nobody is asked about them here.
type podman struct {
	dir    string
	user   int    // 0: root's
	parent string // cgroup of root's containers; a user's stay where Podman is called
}

// podmanSettings are what works where root lacks SYS_RESOURCE and no systemd runs.
const podmanSettings = `[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
pids_limit = 0
log_driver = "k8s-file"
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "none"
[network]
network_backend = "netavark"
`

// newPodman makes one that ends with the test.
func (w *world) newPodman(t testing.TB, user int) *podman {
	t.Helper()
	p := &podman{dir: filepath.Join(w.dir, fmt.Sprintf("pm%d", user)), user: user, parent: fmt.Sprintf("sluice-bypass-podman-%d", pid())}
	for _, dir := range []string{"/dev/shm", "/run/containers", "/var/lib/containers"} { // locks, leases and caches
		must(t, os.MkdirAll(dir, 0o755))
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=1777"))
		t.Cleanup(func() { must(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	}
	t.Cleanup(func() { must(t, p.remove()) })
	must(t, os.Chmod(w.dir, 0o711))
	for _, name := range []string{"attack", "dev", "etc", "proc", "run", "sys", "tmp"} {
		must(t, os.MkdirAll(filepath.Join(p.dir, "root", name), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(p.dir, "containers.conf"), []byte(podmanSettings), 0o644))
	must(t, command("cp", filepath.Join(w.dir, "bin/attacker"), filepath.Join(p.dir, "root/attack")))
	must(t, command("chown", "--recursive", fmt.Sprintf("%d:%d", user, user), p.dir))
	return p
}

func (p *podman) command(args ...string) []string {
	user := strconv.Itoa(p.user)
	argv := []string{
		"env", "--chdir=" + p.dir, "HOME=" + p.dir, "XDG_RUNTIME_DIR=" + p.dir, "CONTAINERS_CONF=" + filepath.Join(p.dir, "containers.conf"),
		"setpriv", "--reuid", user, "--regid", user, "--clear-groups",
		"podman", "--root", filepath.Join(p.dir, "data"), "--runroot", filepath.Join(p.dir, "rr"), "--tmpdir", filepath.Join(p.dir, "tmp"),
		"--network-config-dir", filepath.Join(p.dir, "networks"), "--storage-driver", "vfs",
	}
	if p.user != 0 { // one without further ids of his own is warned each time
		argv = append(argv, "--log-level", "fatal")
	}
	return append(argv, args...)
}

// run is podman run with the job's programs.
func (p *podman) run(options []string, argv ...string) []string {
	args := []string{"run", "--rm", "--interactive"}
	if p.user == 0 {
		args = append(args, "--cgroup-parent", p.parent)
	}
	return p.command(append(append(append(args, options...), "--rootfs", filepath.Join(p.dir, "root")), argv...)...)
}

// remove ends what the user's Podman keeps running and removes root's cgroups.
func (p *podman) remove() error {
	err := command(p.command("rm", "--all", "--force", "--time", "0")...)
	if text, readErr := os.ReadFile(filepath.Join(p.dir, "tmp/pause.pid")); readErr == nil {
		pause, parseErr := strconv.Atoi(strings.TrimSpace(string(text)))
		err = errors.Join(err, parseErr)
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pause)); strings.HasPrefix(string(line), "catatonit\x00") {
			err = errors.Join(err, syscall.Kill(pause, syscall.SIGKILL))
		}
	}
	return errors.Join(err, p.removeCgroups())
}

// removeCgroups waits for the monitors, which end after their containers.
func (p *podman) removeCgroups() (err error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		err = nil
		for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
			left, _ := filepath.Glob(pattern + p.parent)
			for _, top := range left {
				err = errors.Join(err, command("find", top, "-depth", "-type", "d", "-delete"))
			}
		}
		if err == nil {
			return nil
		}
	}
	return err
}

// TestPodmansContainerIsRedirected has root's Podman make containers, on its own
// bridge, on the node's network and in another's network.
func TestPodmansContainerIsRedirected(t *testing.T) {
	p := lab.newPodman(t, 0)
	must(t, command(p.command("network", "create", "--subnet", "198.18.3.0/24", "jobs")...))
	t.Cleanup(func() { must(t, command(p.command("network", "rm", "--force", "jobs")...)) })
	j := lab.newJobBy(t, p.run, "podman", "--network", "jobs", "--cap-add", "NET_RAW")
	j.hop = netip.MustParseAddr("198.18.3.1")
	who := lab.agent.workload(func() { j.try(t, "tcp", lab.target()) })
	if len(who.Kernel.Container) != 64 || who.Kernel.CgroupPath != "/"+p.parent+"/libpod-"+who.Kernel.Container {
		t.Errorf("the workload is container %q in %s", who.Kernel.Container, who.Kernel.CgroupPath)
	}
	rows := []row{
		{name: "tcp", stops: hooks(redirected)},
		{name: "udp-sendto", stops: hooks("sendmsg_refused")},
		{name: "raw-tcp", stops: hooks("egress_dropped")},
		{name: "packet-socket", stops: hooks("link_in_dropped")},
		{name: "listener", stops: hooks("connect_refused_listener"), alone: true},
		{name: "bind-any", stops: hooks("bind_refused"), alone: true},
	}
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { lab.attack(t, j, "podman", r) })
	}
	for name, network := range map[string]string{"host": "host", "beside": "container:" + j.name} {
		t.Run(name, func(t *testing.T) {
			lab.stage(t, lab.newJobBy(t, p.run, name, "--network", network), "podman "+name, rows[0])
		})
	}
}

// pasta runs a job as Podman does since 5.0 where it is a user's: behind pasta. Older
// ones cannot, so here it is pasta that makes the job's namespaces.
func (p *podman) pasta(_ []string, argv ...string) []string {
	user := strconv.Itoa(p.user)
	own := []string{
		"env", "--chdir=" + p.dir, "setpriv", "--reuid", user, "--regid", user, "--clear-groups",
		"pasta", "--config-net", "--foreground", "--interface", "eth0", "--gateway", lab.innocent.String(), "--no-map-gw", "--ipv4-only",
		filepath.Join(p.dir, "root", argv[0]),
	}
	return append(own, argv[1:]...)
}

// TestUsersContainerIsRedirected has a user make one, whose only way out is a process
// of that user's on the node, which opens a connection for each SYN that it finds in
// the container's packets.
func TestUsersContainerIsRedirected(t *testing.T) {
	offerTun(t)
	p := lab.newPodman(t, nobody)
	for way, test := range map[string]struct {
		run func(options []string, argv ...string) []string
		hop netip.Addr
		exe string // what its path has in it
	}{
		"slirp4netns": {p.run, netip.MustParseAddr("10.0.2.2"), "/slirp4netns"},
		"pasta":       {p.pasta, lab.innocent, "/passt"},
	} {
		t.Run(way, func(t *testing.T) {
			j := lab.newJobBy(t, test.run, "user", "--network", way, "--cap-add", "NET_RAW")
			j.hop = test.hop
			for _, r := range []row{
				{name: "tcp", stops: hooks(redirected)},
				{name: "udp-sendto", stops: hooks("sendmsg_refused")},
				{name: "raw-tcp", stops: hooks("egress_dropped")},
				{name: "packet-socket-udp", stops: hooks("sendmsg_refused", "connect_refused_protocol")},
				{name: "listener", stops: hooks("connect_refused_listener"), alone: true},
				{name: "bind-any", stops: hooks("bind_refused"), alone: true},
			} {
				t.Run(r.name, func(t *testing.T) { lab.attack(t, j, way, r) })
			}
			syn := row{name: "packet-socket", stops: hooks(redirected)}
			who := lab.agent.workload(func() { lab.attack(t, j, way, syn) }).Kernel
			if !strings.Contains(who.Exe, test.exe) || who.UID != nobody || who.NetnsCookie != attribution.OwnNetns() {
				t.Errorf("the connection out of the container's packet is %q's, of user %d, in namespace %d", who.Exe, who.UID, who.NetnsCookie)
			}
		})
	}
}

// offerTun lets users open the node's /dev/net/tun until the test ends.
func offerTun(t *testing.T) {
	t.Helper()
	const tun = "/dev/net/tun"
	own := filepath.Join(lab.dir, "tun")
	must(t, unix.Mknod(own, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 200))))
	must(t, os.Chmod(own, 0o666))
	must(t, unix.Mount(own, tun, "", unix.MS_BIND, ""))
	t.Cleanup(func() {
		must(t, unix.Unmount(tun, unix.MNT_DETACH))
		must(t, os.Remove(own))
	})
}

// TestFirstConnectionOfPodmansContainerIsServed starts containers whose first act is
// connect: root's are followed from their cgroup, a user's have none of their own.
func TestFirstConnectionOfPodmansContainerIsServed(t *testing.T) {
	offerTun(t)
	for name, made := range map[string]struct {
		user    int
		network string
	}{"root": {0, "bridge"}, "user": {nobody, "slirp4netns"}} {
		t.Run(name, func(t *testing.T) {
			p := lab.newPodman(t, made.user)
			must(t, command("gcc", "-O2", "-static", "-o", filepath.Join(p.dir, "root/attack/first"), "testdata/first.c"))
			held := lab.agent.counters(t)["connect_held"]
			var waits []time.Duration
			for range 5 {
				wait, err := firstConnection(p.run([]string{"--network", made.network}, "/attack/first", lab.server4.String(), strconv.Itoa(sealedPort)))
				must(t, err)
				waits = append(waits, wait)
			}
			slices.Sort(waits)
			t.Logf("%d first connections, %d held, %v to %v", len(waits), lab.agent.counters(t)["connect_held"]-held, waits[0], waits[len(waits)-1])
		})
	}
}

// TestPublishedPortOfPodmansContainerIsNoWayRound protects the container's own address
// and what Podman says that it publishes.
func TestPublishedPortOfPodmansContainerIsNoWayRound(t *testing.T) {
	p := lab.newPodman(t, 0)
	p.serve(t)
	must(t, command(p.command("network", "create", "--subnet", "198.18.3.0/24", "services")...))
	t.Cleanup(func() { must(t, command(p.command("network", "rm", "--force", "services")...)) })
	service := netip.MustParseAddr("198.18.3.5")
	// The second of a range, which Podman leaves out where it speaks as Docker does.
	must(t, command(p.run([]string{
		"--detach", "--network", "services", "--ip", service.String(), "--publish", fmt.Sprintf("%d-%d:%d-%d", publishedPort-1, publishedPort, sealedPort-1, sealedPort),
	}, "/attack/attacker", "canary", strconv.Itoa(sealedPort))...))
	j, published := lab.newJob(t, "near"), lab.target()
	published.Server4, published.Port = lab.slice.Host4(1), publishedPort
	if s := j.try(t, "tcp", published); !s.Gained {
		t.Errorf("the published port does not work without protection: %q", s.Saw)
	}
	defer func() { must(t, lab.agent.Protect(lab.destinations())) }()
	named := append(lab.destinations(), redirect.Destination{Prefix: netip.PrefixFrom(service, 32), Port: sealedPort})
	registry := attribution.New(attribution.Local(attribution.Config{PodmanSocket: p.socket()}), zap.NewNop())
	must(t, lab.agent.Protect(append(named, offers(t, registry, service)...)))
	before := lab.look(t)
	o := lab.outcome(t, before, j.try(t, "tcp", published))
	o.judge(t, lab, "podman", row{name: "published port", stops: hooks(redirected)})
}

func (p *podman) socket() string { return filepath.Join(p.dir, "podman.sock") }

// serve answers what somebody asks Podman until the test ends.
func (p *podman) serve(t *testing.T) {
	t.Helper()
	argv := p.command("system", "service", "--time", "0", "unix://"+p.socket())
	cmd := exec.Command(argv[0], argv[1:]...) // each program of these becomes the next
	must(t, cmd.Start())
	t.Cleanup(func() {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait() // it ends by the signal
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(p.socket()); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("podman does not answer")
		}
	}
}
