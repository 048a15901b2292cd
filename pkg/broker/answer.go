package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// reply is the answer to a question. The descriptors are closed once it is
// sent.
type reply struct {
	body []byte
	fds  []int
	err  error
}

// question is one that is understood and can be answered.
type question func(ctx context.Context) reply

// read understands a question. Its error condemns the proxy: an honest one
// asks nothing that does not have the form.
func (p *proxy) read(said packet) (question, error) {
	if said.number == 0 {
		return nil, errMalformed
	}
	switch said.kind {
	case kindCounters:
		return p.counters, empty(said.body)
	case kindHealthy:
		return func(context.Context) reply { return reply{err: p.Redirect.Healthy()} }, empty(said.body)
	case kindSocket:
		return p.readSocket(said.body)
	case kindProcess:
		var of process
		err := unpackAll(said.body, &of)
		return func(ctx context.Context) reply { return p.process(ctx, of) }, err
	case kindCgroup:
		var id uint64
		err := unpackAll(said.body, &id)
		return func(ctx context.Context) reply { return text(p.Sources.Cgroup(ctx, id)) }, err
	case kindCgroups:
		var pid uint32
		err := unpackAll(said.body, &pid)
		return func(ctx context.Context) reply { return text(p.Sources.Cgroups(ctx, int(pid))) }, err
	case kindContainer:
		return readInspect(said.body, p.Sources.Container)
	case kindImage:
		return readInspect(said.body, p.Sources.Image)
	case kindPod:
		return readInspect(said.body, p.Sources.Pod)
	case kindMounts:
		return func(ctx context.Context) reply { return inMemory(ctx, p.Sources.Mounts) }, empty(said.body)
	case kindOpen:
		path := string(said.body)
		if len(path) == 0 || len(path) > maxPath {
			return nil, errMalformed
		}
		return func(context.Context) reply { return p.openFile(path) }, nil
	}
	return nil, errMalformed
}

// readInspect understands a question about what has an id, and a byte that says
// whom or what to ask.
func readInspect[How ~uint8](body []byte, source func(ctx context.Context, how How, id string) ([]byte, error)) (question, error) {
	if len(body) != 1+containerIDSize {
		return nil, errMalformed
	}
	how, id := How(body[0]), string(body[1:])
	return func(ctx context.Context) reply {
		return inMemory(ctx, func(ctx context.Context) ([]byte, error) { return source(ctx, how, id) })
	}, nil
}

// text is the answer of a source that gave one.
func text[T string | []byte](answer T, err error) reply {
	if err == nil && len(answer) > maxPacket/2 {
		err = errors.New("the answer is too long")
	}
	if err != nil {
		return reply{err: err}
	}
	return reply{body: []byte(answer)}
}

// answerWait bounds how long a source may take.
const answerWait = 5 * time.Second

// answer sends a reply. Failing that, the proxy is as good as dead.
func (p *proxy) answer(number uint32, r reply) {
	defer closeAll(r.fds)
	status, body, fds := statusOK, r.body, r.fds
	if r.err != nil {
		fds = nil
		status, body = statusError, []byte(r.err.Error())
		if errors.Is(r.err, fs.ErrNotExist) {
			status = statusNotExist
		}
		body = body[:min(len(body), maxPath)]
	}
	p.link.impatient()
	if err := p.link.send(kindAnswer, number, append([]byte{byte(status)}, body...), fds...); err != nil {
		p.fail(fmt.Errorf("answer: %w", err))
	}
}

func (p *proxy) readSocket(body []byte) (question, error) {
	families := map[uint8]netip.Addr{4: netip.IPv4Unspecified(), 6: netip.IPv6Unspecified()}
	var wanted struct{ Version, Count uint8 }
	if err := unpackAll(body, &wanted); err != nil {
		return nil, err
	}
	addr, known := families[wanted.Version]
	if !known || wanted.Count == 0 || wanted.Count > socketsAtOnce {
		return nil, errMalformed
	}
	return func(context.Context) (r reply) {
		for range wanted.Count {
			fd, err := p.Redirect.Socket(addr)
			if err != nil {
				return reply{err: err, fds: r.fds}
			}
			r.fds = append(r.fds, fd)
		}
		return r
	}, nil
}

func (p *proxy) counters(context.Context) reply {
	counters, err := p.Redirect.Counters()
	if err != nil {
		return reply{err: err}
	}
	var lines strings.Builder
	for name, n := range counters {
		_, _ = fmt.Fprintf(&lines, "%s %d\n", name, n) // a Builder takes everything
	}
	return text(lines.String(), nil)
}

var errNeverAsked = errors.New("no connection of this process came")

func (p *proxy) process(ctx context.Context, of process) reply {
	asked, err := p.Redirect.HasAsked(of.PID, time.Duration(of.SinceBoot))
	if err != nil {
		return reply{err: err}
	}
	if !asked {
		return reply{err: errNeverAsked}
	}
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	found, err := p.Sources.Process(ctx, of.PID, p.booted.Add(time.Duration(of.SinceBoot)))
	if err != nil {
		return reply{err: err}
	}
	return files(describe(found), found.Environ, found.Cmdline)
}

// inMemory is the answer of a source that may give more than a packet holds.
func inMemory(ctx context.Context, source func(context.Context) ([]byte, error)) reply {
	ctx, cancel := context.WithTimeout(ctx, answerWait)
	defer cancel()
	record, err := source(ctx)
	if err != nil {
		return reply{err: err}
	}
	file, err := memory(record)
	if err != nil {
		return reply{err: err}
	}
	return files(nil, file)
}

// memory returns a file of no file system, to be read from its beginning.
func memory(text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("sluice", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), "memory")
	_, err = file.Write(text)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (p *proxy) openFile(path string) reply {
	file, err := p.Files.open(path)
	if errors.Is(err, errNotNamed) {
		p.Log.Warn("The proxy asked for a file that the configuration does not name")
	}
	if err != nil {
		return reply{err: err}
	}
	return files(nil, file)
}

// files is a reply with descriptors of its own for files, which it closes.
func files(body []byte, all ...*os.File) reply {
	r := reply{body: body}
	for _, file := range all {
		fd, err := duplicate(file)
		r.err = errors.Join(r.err, err, file.Close())
		if err == nil {
			r.fds = append(r.fds, fd)
		}
	}
	return r
}

func duplicate(file *os.File) (fd int, err error) {
	raw, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	controlErr := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(controlErr, err)
}
