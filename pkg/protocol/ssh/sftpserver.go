package ssh

import (
	"bufio"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// resolve finds out which files a request is about: what the server says of
// its paths, links resolved, or else what their text says. It reports whether
// that is certain.
func (r *sftpRelay) resolve(request *fileRequest) (where place, certain bool, err error) {
	switch {
	case request.kind == sftpFsetstat:
		return place{path: request.path}, true, nil // as it was opened
	case request.kind == sftpExtended && !request.named():
		return place{}, true, nil
	case request.kind == sftpRealpath:
		where.path, _ = lexical(r.home, request.path)
		return where, true, nil // it tells a name and nothing else
	case request.kind == sftpSymlink:
		return r.link(request)
	}
	where.path, certain, err = r.real(request.path, request.followed())
	if err != nil || !request.renames() {
		return where, certain, err
	}
	var also bool
	where.newPath, also, err = r.real(request.newPath, false)
	return where, certain && also, err
}

// link resolves a symbolic link that is to be made: the first path is what it
// says, as OpenSSH has them, and begins where the link is.
func (r *sftpRelay) link(request *fileRequest) (where place, certain bool, err error) {
	where.newPath, certain, err = r.real(request.newPath, false)
	where.path = request.path
	if !strings.HasPrefix(request.path, "/") {
		where.path = path.Join(path.Dir(where.newPath), request.path)
	}
	return where, certain && !strings.Contains("/"+request.path+"/", "/../"), err
}

// real asks the server for a path. Of one whose last part is not followed, the
// directory is asked for.
func (r *sftpRelay) real(name string, followed bool) (string, bool, error) {
	if name == "" {
		name = "."
	}
	clean, certain := lexical(r.home, name)
	ask, last := name, ""
	if !followed {
		trimmed := strings.TrimRight(name, "/")
		ask, last = path.Split(trimmed)
		if last == "" || last == "." || last == ".." {
			ask, last = name, ""
		} else if ask == "" {
			ask = "."
		}
	}
	reply, err := r.realpath(ask)
	if err != nil {
		return "", false, err
	}
	if reply.kind != sftpName || !strings.HasPrefix(reply.name, "/") {
		return clean, certain, nil
	}
	return path.Join(reply.name, last), true, nil
}

// realpath asks the server a question of ours and waits for the answer.
func (r *sftpRelay) realpath(name string) (fileReply, error) {
	answer := make(chan fileReply, 1)
	r.mu.Lock()
	id := r.files.fresh()
	waits := r.files.await(id, pending{ours: answer})
	r.mu.Unlock()
	if !waits {
		return fileReply{}, errSFTP
	}
	if _, err := r.toServer.Write(appendRealpath(nil, id, name)); err != nil {
		return fileReply{}, io.EOF
	}
	if err := r.toServer.Flush(); err != nil {
		return fileReply{}, io.EOF
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			return reply, io.EOF
		}
		return reply, nil
	case <-r.c.ctx.Done():
		return fileReply{}, io.EOF
	}
}

// fromServer passes the server's answers on until there are no more.
func (r *sftpRelay) fromServer() error {
	from := bufio.NewReaderSize(r.c.server, pieceBytes)
	var packet []byte
	for first := true; ; first = false {
		var err error
		if packet, err = message(from, packet); err != nil {
			return err
		}
		reply, err := parseFileReply(packet[4:])
		if err != nil || first != (reply.kind == sftpVersion) || first && reply.id > sftpSpoken {
			return errSFTP
		}
		passes := first
		if !first {
			if passes, err = r.reply(reply); err != nil {
				return err
			}
		}
		r.c.outMu.Lock()
		if passes {
			_, err = r.toClient.Write(packet)
		}
		if from.Buffered() == 0 {
			err = errors.Join(err, r.toClient.Flush())
		}
		r.c.outMu.Unlock()
		if err != nil {
			return io.EOF
		}
	}
}

// reply notes an answer, and records what it brings. It reports whether the
// client gets it.
func (r *sftpRelay) reply(reply fileReply) (bool, error) {
	r.mu.Lock()
	p, known := r.files.answered(reply)
	if known && p.opens != nil && reply.kind == sftpHandle {
		if len(r.files.open) >= maxFiles || r.files.open[reply.handle] != nil {
			known = false
		} else {
			r.files.open[reply.handle] = p.opens
			p.op = nil // it ends with the file
		}
	}
	r.mu.Unlock()
	switch {
	case !known:
		return false, errSFTP
	case p.ours != nil:
		p.ours <- reply
		return false, nil
	case p.reads != nil && reply.kind == sftpData:
		if err := p.reads.pass(&p.reads.read, protocol.Response, p.offset, reply.data); err != nil && !errors.Is(err, protocol.ErrEnded) {
			r.c.session.fail(err)
			return false, io.EOF
		}
	case p.closes != nil:
		r.end(p.closes.op, statusOutcome(reply, p.closes.summary()))
	case p.op != nil:
		r.end(p.op, statusOutcome(reply, ""))
	}
	return true, nil
}

func (r *sftpRelay) end(op *protocol.Asked, outcome protocol.Outcome) {
	if err := op.End(outcome); err != nil {
		r.c.session.fail(err)
	}
}

// abandon ends what is still open when the server has no more to say.
func (r *sftpRelay) abandon() {
	r.mu.Lock()
	left := r.files
	r.files = &files{over: true}
	r.mu.Unlock()
	for _, p := range left.pending {
		if p.ours != nil {
			close(p.ours)
		}
		r.end(p.op, protocol.Outcome{Status: protocol.Abandoned})
		if p.closes != nil {
			r.end(p.closes.op, protocol.Outcome{Status: protocol.Abandoned, Tag: p.closes.summary()})
		}
	}
	for _, f := range left.open {
		r.end(f.op, protocol.Outcome{Status: protocol.Abandoned, Tag: f.summary()})
	}
}
