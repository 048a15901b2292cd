//go:build boot

package boot

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	bootPatience    = 3 * time.Minute
	commandPatience = 5 * time.Minute
)

// machine is one that qemu emulates. Its disk is a copy, and ends with it.
type machine struct {
	dir   string
	qemu  *exec.Cmd
	ended chan struct{}
	line  net.Conn // to the program inside that runs commands
	lines *bufio.Reader
}

// start boots a machine with more for the kernel's command line.
func start(made, dir, arguments string) (*machine, error) {
	disk := filepath.Join(dir, "disk")
	if out, err := exec.Command("cp", "--sparse=always", filepath.Join(made, "disk"), disk).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy disk: %w: %s", err, out)
	}
	control := filepath.Join(dir, "control")
	m := &machine{dir: dir, ended: make(chan struct{})}
	m.qemu = exec.Command("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3072",
		"-nodefaults", "-display", "none", "-device", "virtio-rng-pci",
		"-drive", "if=virtio,format=raw,cache=unsafe,file="+disk,
		"-serial", "file:"+m.console(), "-serial", "unix:"+control+",server=on,wait=on",
		"-kernel", filepath.Join(made, "kernel"), "-initrd", filepath.Join(made, "initrd"),
		"-append", "console=ttyS0 panic=-1 apparmor=0 "+arguments)
	m.qemu.Stderr = os.Stderr
	if err := m.qemu.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = m.qemu.Wait() // it is killed
		close(m.ended)
	}()
	if err := m.connect(control); err != nil {
		m.stop()
		return nil, err
	}
	return m, nil
}

func (m *machine) console() string { return filepath.Join(m.dir, "console") }

// connect waits for qemu's socket and then for the machine behind it.
func (m *machine) connect(control string) (err error) {
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if m.line, err = net.Dial("unix", control); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return err
		}
	}
	m.lines = bufio.NewReader(m.line)
	return m.greeted()
}

// greeted waits for the machine to boot.
func (m *machine) greeted() error {
	for {
		line, err := m.read(bootPatience)
		if err != nil {
			return fmt.Errorf("the machine does not boot: %w\n%s", err, m.lastWords())
		}
		if strings.HasSuffix(line, "hello") {
			return nil
		}
	}
}

func (m *machine) read(patience time.Duration) (string, error) {
	if err := m.line.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	line, err := m.lines.ReadString('\n')
	return strings.TrimSpace(line), err
}

// run runs a command of a shell inside, as root.
func (m *machine) run(command string) (out string, status int, err error) {
	if _, err := io.WriteString(m.line, base64.StdEncoding.EncodeToString([]byte(command))+"\n"); err != nil {
		return "", 0, err
	}
	line, err := m.read(commandPatience)
	if err != nil {
		return "", 0, fmt.Errorf("%s: %w\n%s", command, err, m.lastWords())
	}
	first, second, _ := strings.Cut(line, " ")
	status, err = strconv.Atoi(first)
	text, decodeErr := base64.StdEncoding.DecodeString(second)
	return strings.TrimSpace(string(text)), status, errors.Join(err, decodeErr)
}

// do is run of a command that succeeds.
func (m *machine) do(t *testing.T, command string) string {
	t.Helper()
	out, status := m.try(t, command)
	if status != 0 {
		t.Fatalf("%s: status %d\n%s", command, status, out)
	}
	return out
}

func (m *machine) try(t *testing.T, command string) (string, int) {
	t.Helper()
	out, status, err := m.run(command)
	if err != nil {
		t.Fatal(err)
	}
	return out, status
}

// reboot shuts down in order, and boots again with the same disk.
func (m *machine) reboot(t *testing.T) {
	t.Helper()
	if _, err := io.WriteString(m.line, base64.StdEncoding.EncodeToString([]byte("systemctl reboot"))+"\n"); err != nil {
		t.Fatal(err)
	}
	if err := m.greeted(); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) lastWords() string {
	text, err := os.ReadFile(m.console())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4000):])
}

// stop ends the machine as a power failure would; it may be called again.
func (m *machine) stop() {
	if m.line != nil {
		_ = m.line.Close()
	}
	_ = m.qemu.Process.Kill() // it may have ended
	<-m.ended
}
