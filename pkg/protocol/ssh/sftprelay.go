package ssh

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"path"
	"slices"
	"sync"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// sftpRelay passes SFTP between the legs, and asks about each request that
// names a path. Requests are decided one after the other; answers to earlier
// ones pass meanwhile.
type sftpRelay struct {
	c      *hostChannel
	parent *protocol.Asked // the subsystem
	home   string          // where relative paths begin, as the server says; "" while it is not known

	mu    sync.Mutex
	files *files // guarded by mu

	toServer *bufio.Writer // of the client's goroutine
	toClient *bufio.Writer // guarded by c.outMu
}

// relayFiles takes a program that speaks SFTP. It reports whether it did.
func (c *hostChannel) relayFiles(a *protocol.Asked) bool {
	if !isSFTP(&a.Op) {
		return false
	}
	r := &sftpRelay{
		c: c, parent: a, files: newFiles(),
		toServer: bufio.NewWriterSize(c.server, pieceBytes), toClient: bufio.NewWriterSize(c.client, pieceBytes),
	}
	c.session.wait.Go(func() {
		r.broken(r.fromClient())
		_ = c.server.CloseWrite()
	})
	var out sync.WaitGroup
	out.Go(func() { r.broken(r.fromServer()) })
	out.Go(func() { c.output(a, protocol.Errors, &c.errMu, c.client.Stderr(), c.server.Stderr()) })
	c.parts.Go(func() {
		out.Wait()
		r.abandon()
		c.endProgram()
	})
	return true
}

// isSFTP reports whether a program speaks SFTP: the subsystem, or the server's
// program by its name.
func isSFTP(op *operation.Operation) bool {
	if op.Kind == operation.Subsystem {
		return string(op.SSH.Command.Reveal()) == "sftp"
	}
	return len(op.SSH.Commands) == 1 && op.Parsed && isFileServer(op.SSH.Commands[0].Program)
}

func isFileServer(program string) bool {
	name := path.Base(program)
	return name == "sftp-server" || name == "internal-sftp"
}

// broken ends the channel when a peer broke the protocol.
func (r *sftpRelay) broken(err error) {
	if err == nil {
		return
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		r.c.say("sluice: this is not SFTP as it is understood here")
	}
	_ = r.c.server.Close()
}

// message reads the next message with its length, into memory that is used
// again.
func message(from *bufio.Reader, memory []byte) ([]byte, error) {
	head, err := from.Peek(4)
	if err != nil {
		return memory, io.EOF
	}
	size := binary.BigEndian.Uint32(head)
	if size < 5 || size > maxSFTP {
		return memory, errSFTP
	}
	memory = slices.Grow(memory[:0], int(size)+4)[:size+4]
	_, err = io.ReadFull(from, memory)
	return memory, err
}

// fromClient serves the client's requests until there are no more.
func (r *sftpRelay) fromClient() error {
	from := bufio.NewReaderSize(r.c.client, pieceBytes)
	var packet []byte
	for first := true; ; first = false {
		var err error
		if packet, err = message(from, packet); err != nil {
			return errors.Join(err, r.toServer.Flush())
		}
		request, err := parseFileRequest(packet[4:])
		if err != nil || first != (request.kind == sftpInit) {
			return errSFTP
		}
		if err := r.request(&request, packet); err != nil {
			return err
		}
		if from.Buffered() == 0 {
			if err := r.toServer.Flush(); err != nil {
				return io.EOF
			}
		}
	}
}

// request decides about one request, and forwards or answers it.
func (r *sftpRelay) request(request *fileRequest, packet []byte) error {
	if request.kind == sftpInit {
		return r.greet(packet)
	}
	p, known := r.continued(request)
	if !known {
		return r.deny(request.id, sftpFailure, "sluice: there is no such handle")
	}
	if request.kind == sftpWrite {
		if err := r.written(request, p.closes); err != nil {
			return err
		}
		p.closes = nil
	}
	if action, words := request.action(); action != "" {
		refused, err := r.decide(request, packet, action, words, &p)
		if err != nil || refused {
			return err
		}
	}
	r.mu.Lock()
	waits := r.files.await(request.id, p)
	r.mu.Unlock()
	if !waits {
		return errors.Join(errSFTP, p.op.End(protocol.Outcome{Status: protocol.Abandoned}))
	}
	_, err := r.toServer.Write(packet)
	return err
}

// greet clamps the version that the client offers, and learns where relative
// paths begin.
func (r *sftpRelay) greet(packet []byte) error {
	binary.BigEndian.PutUint32(packet[5:], min(sftpSpoken, binary.BigEndian.Uint32(packet[5:])))
	if _, err := r.toServer.Write(packet); err != nil {
		return err
	}
	reply, err := r.realpath(".")
	if err == nil && reply.kind == sftpName {
		r.home = reply.name
	}
	return err
}

// continued finds what a request by a handle goes on with. It reports false
// for a handle that nobody was given.
func (r *sftpRelay) continued(request *fileRequest) (pending, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !request.byHandle() {
		return pending{}, true
	}
	f := r.files.open[request.handle]
	if f == nil || request.to != "" && r.files.open[request.to] == nil {
		return pending{}, false
	}
	switch request.kind {
	case sftpClose:
		delete(r.files.open, request.handle)
		return pending{closes: f}, true
	case sftpRead:
		return pending{reads: f, offset: request.offset}, true
	case sftpWrite:
		return pending{closes: f}, true // until written has taken it
	case sftpFsetstat:
		request.path = f.path
	}
	return pending{}, true
}

// written records a piece of a file before it is forwarded.
func (r *sftpRelay) written(request *fileRequest, f *file) error {
	if err := f.pass(&f.wrote, protocol.Input, request.offset, request.data); err != nil {
		r.c.session.fail(err)
		return io.EOF
	}
	return nil
}

// decide asks about a request that names a path. It reports whether it was
// refused, and answered.
func (r *sftpRelay) decide(request *fileRequest, packet []byte, action operation.FileAction, words string, p *pending) (refused bool, err error) {
	where, certain, err := r.resolve(request)
	if err != nil {
		return false, err
	}
	ops := []operation.FileAction{action}
	if request.kind == sftpOpen && action == operation.FileWrite && request.flags&flagRead != 0 {
		ops = []operation.FileAction{operation.FileRead, operation.FileWrite}
	}
	for i, action := range ops {
		op := r.operation(request, action, words, where, certain && action != operation.FileOther)
		op.Bytes = bytes.Clone(packet)
		a, why, err := r.ask(op)
		if err != nil {
			return false, err
		}
		if why != "" {
			return true, r.deny(request.id, sftpPermissionDenied, why)
		}
		if i < len(ops)-1 {
			r.c.session.settle(a, protocol.OK)
			continue
		}
		p.op = a
	}
	if request.kind == sftpOpen || request.kind == sftpOpendir {
		p.opens = &file{op: p.op, path: where.path}
	}
	return false, nil
}

// place is what paths a request is about, as the server sees them.
type place struct{ path, newPath string }

func (r *sftpRelay) operation(request *fileRequest, action operation.FileAction, words string, where place, certain bool) operation.Operation {
	text := words + " " + where.path
	if where.newPath != "" {
		text += " to " + where.newPath
	}
	if request.path != where.path && request.path != "" {
		text += " (written as " + request.path + ")"
	}
	return operation.Operation{
		Kind: operation.File, Parent: r.parent.Op.ID, Text: operation.Text(text), Parsed: certain,
		ReadOnly: action == operation.FileRead || action == operation.FileList || action == operation.FileStat,
		SSH:      &operation.SSH{Type: operation.SSHFile, Action: action, Path: where.path, NewPath: where.newPath},
	}
}

// ask asks about a file. It returns why it was refused, and ends what was.
func (r *sftpRelay) ask(op operation.Operation) (a *protocol.Asked, refused string, err error) {
	if err := r.toServer.Flush(); err != nil { // the server works while a person thinks
		return nil, "", io.EOF
	}
	var remind protocol.Reminder
	a, decision, err := r.c.session.conn.Ask(r.c.ctx, op, func(why protocol.Waiting) { r.c.mention(remind.Text(why)) })
	rule := ""
	if err == nil && decision.Effect == protocol.Allow && op.SSH.Action == operation.FileRead && !r.c.session.conn.Masks.Empty() {
		rule = r.c.session.conn.Masks.Detect[0].Mask
		decision = protocol.Decision{Reason: "mask \"" + rule + "\" looks for secrets, and cannot in a file that is read in pieces"}
	}
	if err == nil && decision.Effect == protocol.Allow {
		r.c.mention(decision.Release())
		return a, "", nil
	}
	why := protocol.RefusalOf(decision, err)
	if err := a.End(protocol.Outcome{Status: protocol.Refused, Rule: rule}); err != nil {
		r.c.session.fail(err)
	}
	r.c.say(why)
	return nil, why, nil
}

// deny answers a request in the server's place. OpenSSH's client does not show
// the text, so stderr has it too.
func (r *sftpRelay) deny(id, code uint32, text string) error {
	r.c.outMu.Lock()
	defer r.c.outMu.Unlock()
	if _, err := r.toClient.Write(appendStatus(nil, id, code, text)); err != nil {
		return io.EOF
	}
	if r.toClient.Flush() != nil {
		return io.EOF
	}
	return nil
}
