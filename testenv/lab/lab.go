package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/sluicegate/sluice/testenv/netlab"
)

// lab is the state of one lab, kept in a file between commands.
type lab struct {
	dir string // the state directory; everything that outlives a command is below it

	Slice     netip.Prefix       `json:"slice"` // the addresses that are ours
	Port      uint16             `json:"port"`  // of the agent's listeners
	Node      string             `json:"node"`  // name of the netns of the runner node
	Processes map[string]process `json:"processes"`
	Hosts     string             `json:"hosts"`   // the cgroup of the SSH hosts
	Mounted   bool               `json:"mounted"` // bpffs, by this lab
	Policy    string             `json:"policy"`  // the file given to up; empty for the lab's own
	Kube      bool               `json:"kube"`    // it has a Kubernetes API server

	saving    sync.Mutex    // also of Processes while up runs: the API server starts beside the rest
	slice     *netlab.Slice // while up runs
	authority *authority    // while up runs
}

func open(dir string) (*lab, error) {
	l := &lab{dir: dir, Processes: map[string]process{}}
	state, err := os.ReadFile(l.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(state, l); err != nil {
		return nil, fmt.Errorf("%s: %w", l.stateFile(), err)
	}
	return l, nil
}

func (l *lab) stateFile() string { return filepath.Join(l.dir, "state.json") }

// path names a file of the lab.
func (l *lab) path(parts ...string) string {
	return filepath.Join(append([]string{l.dir}, parts...)...)
}

func (l *lab) save() error {
	l.saving.Lock()
	defer l.saving.Unlock()
	state, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	next := l.stateFile() + ".next" // whole at once: a program that up started reads it
	if err := os.WriteFile(next, state, 0o600); err != nil {
		return err
	}
	return os.Rename(next, l.stateFile())
}

// started remembers a process, so that down ends it whatever happens next.
func (l *lab) started(name string, p process) error {
	l.saving.Lock()
	l.Processes[name] = p
	l.saving.Unlock()
	return l.save()
}

func (l *lab) isUp() bool { return l.Processes["postgres"].alive() }

// up builds the lab step by step. When a step fails, what stands already is
// taken down again, but for the logs.
func (l *lab) up(args []string) error {
	if err := l.parse(args); err != nil {
		return err
	}
	if l.Node != "" {
		return errors.New("a lab is here already: scripts/lab status, or scripts/lab down")
	}
	began := time.Now()
	if err := l.clean(); err != nil { // of what an up that failed left for people to read
		return err
	}
	if err := os.MkdirAll(l.path("secrets"), 0o700); err != nil {
		return err
	}
	var err error
	if l.authority, err = l.newAuthority(); err != nil {
		return err
	}
	kube := func() error { return nil }
	mysql := kube
	steps := []struct {
		name string
		do   func() error
	}{
		{"network", l.makeNetwork},
		{"kube", func() error { kube = l.startKube(); return nil }},
		{"mysql", func() error { mysql = l.startMySQL(); return nil }},
		{"postgres", l.startPostgres},
		{"sshd", l.startSSH},
		{"git", l.startGit},
		{"git over HTTPS", l.startGitHTTPS},
		{"web", l.startWeb},
		{"docker", l.startDocker},
		{"issuer and approver", l.makePeople},
		{"collector", l.startCollector},
		{"mysql", func() error { return mysql() }},
		{"kube", func() error { return kube() }},
		{"agent", l.startAgent},
	}
	for _, step := range steps {
		if err := step.do(); err != nil {
			_, _ = mysql(), kube() // or they would go on starting
			_ = l.teardown()
			return fmt.Errorf("%s: %w", step.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "lab: up in %.1f s\n", time.Since(began).Seconds())
	return nil
}

// parse reads what up was told.
func (l *lab) parse(args []string) error {
	l.Kube = true
	for ; len(args) >= 2; args = args[2:] {
		switch {
		case args[0] == "--policy":
			l.Policy = args[1]
		case args[0] == "--without" && args[1] == "kube":
			l.Kube = false
		default:
			return fmt.Errorf("up does not take %s %s", args[0], args[1])
		}
	}
	if len(args) != 0 {
		return errors.New("up takes only --policy FILE and --without kube")
	}
	return nil
}

// down stops everything and removes the state, logs included.
func (l *lab) down() error {
	if err := l.teardown(); err != nil {
		return err
	}
	return l.clean()
}

// clean removes everything below the state directory but the programs, which
// are built again only when their source changed.
func (l *lab) clean() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.Name() == "bin" {
			continue
		}
		if err := os.RemoveAll(l.path(entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// teardown undoes up in the reverse order and goes on past errors, so that
// one stuck part does not keep the others.
func (l *lab) teardown() error {
	var errs []error
	errs = append(errs, l.Processes["agent"].end(syscall.SIGTERM, 15*time.Second))
	errs = append(errs, l.uninstallAgent(), l.unmountBPFFS())
	errs = append(errs, l.stopDocker())
	errs = append(errs, l.Processes["collector"].end(syscall.SIGTERM, 15*time.Second))
	errs = append(errs, l.Processes["issuer"].end(syscall.SIGTERM, 5*time.Second))
	errs = append(errs, l.Processes["web"].end(syscall.SIGTERM, 10*time.Second))
	errs = append(errs, l.Processes["git-https"].end(syscall.SIGTERM, 10*time.Second))
	errs = append(errs, l.Processes["git"].end(syscall.SIGTERM, 10*time.Second))
	errs = append(errs, l.Processes["ssh"].end(syscall.SIGTERM, 10*time.Second))
	errs = append(errs, l.stopKube())
	errs = append(errs, l.removeHostsCgroup())
	errs = append(errs, l.Processes["mysql"].end(syscall.SIGTERM, 30*time.Second))
	errs = append(errs, l.Processes["postgres"].end(syscall.SIGINT, 30*time.Second))
	errs = append(errs, l.removeNetwork())
	if err := errors.Join(errs...); err != nil {
		return err
	}
	err := os.Remove(l.stateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// status prints what runs; with --json also the addresses that people use.
func (l *lab) status(args []string) error {
	running := map[string]bool{}
	for name, p := range l.Processes {
		running[name] = p.alive()
	}
	out := map[string]any{"up": l.isUp(), "running": running}
	if l.isUp() {
		out["console"] = l.consoleURL()
		out["servers"] = l.servers()
		out["web"] = map[string]string{"url": webURL, "plain": webPlainURL}
		out["git"] = map[string]string{"ssh": gitURL, "https": gitHTTPS}
		if l.Kube {
			out["kube"] = map[string]string{"url": kubeURL}
		}
		out["policy"] = l.path("agent", "policy.yaml")
	}
	if len(args) == 1 && args[0] == "--json" {
		return json.NewEncoder(os.Stdout).Encode(out)
	}
	if !l.isUp() {
		fmt.Println("the lab is down")
		return nil
	}
	for _, name := range []string{"postgres", "mysql", "ssh", "git", "git-https", "web", "etcd", "kube-apiserver", "docker", "issuer", "collector", "agent"} {
		if _, known := l.Processes[name]; !known {
			continue
		}
		word := "stopped"
		if running[name] {
			word = fmt.Sprintf("running, pid %d", l.Processes[name].PID)
		}
		fmt.Printf("%-14s %s\n", name, word)
	}
	fmt.Printf("%-14s %s\n", "console", l.consoleURL())
	return nil
}

// power stops, starts or kills the agent or the collector.
func (l *lab) power(verb, name string) error {
	start, known := map[string]func() error{"agent": l.runAgent, "collector": l.runCollector}[name]
	if !known {
		return fmt.Errorf("%q is not agent or collector", name)
	}
	switch verb {
	case "uninstall":
		if name != "agent" {
			return errors.New("only the agent can be uninstalled")
		}
		return l.uninstallAgent()
	case "kill":
		return l.Processes[name].end(syscall.SIGKILL, 10*time.Second)
	case "stop":
		return l.Processes[name].end(syscall.SIGTERM, 15*time.Second)
	}
	if l.Processes[name].alive() {
		return fmt.Errorf("the %s runs already", name)
	}
	return start()
}
