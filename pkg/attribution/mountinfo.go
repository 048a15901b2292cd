package attribution

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxMounts bounds what is read of a list of mounts, in bytes: some 20,000 of
// them.
const maxMounts = 4 << 20

// readMounts returns the mounts that the runtime sees which listens at socket.
// What it is told to mount it looks up there, be that the node's mount namespace
// or one of its own.
func readMounts(ctx context.Context, socket string) ([]byte, error) {
	if socket == "" {
		return nil, errors.New("there is no runtime")
	}
	pid, err := listenerOf(ctx, socket)
	if err != nil {
		return nil, fmt.Errorf("find the runtime: %w", err)
	}
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // opened for reading only
	return bounded(file, maxMounts)
}

// listenerOf returns the pid of the process that listens at a unix socket: the
// runtime, or the service manager that has opened the socket for it (unix(7),
// SO_PEERCRED).
func listenerOf(ctx context.Context, socket string) (int, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return 0, err
	}
	defer conn.Close() //nolint:errcheck // nothing was sent
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	controlErr := raw.Control(func(fd uintptr) { peer, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(controlErr, err); err != nil {
		return 0, err
	}
	if peer.Pid <= 0 || peer.Uid != 0 {
		return 0, errors.New("it is not root's, or in a pid namespace that is not seen here")
	}
	return int(peer.Pid), nil
}

// mount is an entry of a list of mounts (proc_pid_mountinfo(5)). Its names can
// hold every character that a file's name can.
type mount struct {
	id, parent string
	device     string // major:minor
	root       string // what is mounted, within its file system
	at         string // where
	kind       string // of the file system
}

// escapes are those of the kernel, which writes no others (show_mountinfo in
// fs/proc_namespace.c).
var escapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\043`, "#", `\134`, `\`)

// parseMounts returns all or, where one line is not what it should be, none.
func parseMounts(text []byte) ([]mount, error) {
	var all []mount
	for line := range strings.Lines(string(text)) {
		whole, found := strings.CutSuffix(line, "\n")
		field := strings.Split(whole, " ")
		if !found || len(field) < 10 {
			return nil, errors.New("a list of mounts has a line that is none")
		}
		rest := field[6:] // optional fields, of which none is "-"
		for len(rest) > 0 && rest[0] != "-" {
			rest = rest[1:]
		}
		if len(rest) < 4 {
			return nil, errors.New("a list of mounts has a line that is none")
		}
		all = append(all, mount{
			id: field[0], parent: field[1], device: field[2],
			root: escapes.Replace(field[3]), at: escapes.Replace(field[4]), kind: rest[1],
		})
	}
	return all, nil
}

// tells reports whether root says where in its file system a mount's content is.
// That of something deleted is where it was, NFS always says "/", and what
// cgroups say depends on who reads it.
func (m mount) tells() bool {
	switch m.kind {
	case "nfs", "nfs4", "cgroup", "cgroup2":
		return false
	}
	return path.IsAbs(m.root) && path.Clean(m.root) == m.root // "//deleted" is at the end of what is
}

// nameOf returns the path by which a mount shows what is at root, which is in the
// same file system; nothing, if it does not.
func (m mount) nameOf(root string) string {
	inside, found := beneath(m.root, root)
	if !found {
		return ""
	}
	return path.Join(m.at, inside)
}

// beneath returns the rest of a path that lies at or below dir.
func beneath(dir, name string) (rest string, found bool) {
	if name == dir {
		return "", true
	}
	return strings.CutPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}
