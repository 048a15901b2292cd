package ssh

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// What packs of pushes may take of the disk while they wait.
const (
	workloadPacks = 4 << 30
	allPacks      = 16 << 30
)

// relayGit takes a program that is one of git's services. It reports whether it
// did. The program is an operation of its own, which has been allowed; what is
// asked of the repository is another, below it.
func (c *hostChannel) relayGit(a *protocol.Asked) bool {
	command, ok := gitwire.ParseCommand(string(a.Op.Text.Reveal()))
	if a.Op.Kind != operation.Exec || c.before.terminal != "" || !ok {
		return false
	}
	run := gitwire.Run{
		Command: command, Client: c.client, Go: c.session.wait.Go, Answer: c.client, Server: &gitStream{channel: c.server}, Open: c.askGit,
		Guard: c.session.conn.Guard, Parent: a.Op.ID,
		Limits: gitwire.Limits{Dir: c.session.plugin.options.PackDir}, Room: c.session.plugin.packs, Workload: c.session.netns(),
		Note: c.mention, Preface: a.Record,
	}
	var out sync.WaitGroup
	out.Go(func() { c.serveGit(run) })
	out.Go(func() { c.output(a, protocol.Errors, &c.errMu, c.client.Stderr(), c.server.Stderr()) })
	c.parts.Go(func() {
		out.Wait()
		c.endProgram()
	})
	return true
}

// hidesGit reports whether a command line runs one of git's services as
// something else than a service by itself: its streams would be nobody's push.
// Such a line is not understood.
func (p *preparation) hidesGit(line string, commands []operation.SSHCommand) bool {
	if _, alone := gitwire.ParseCommand(line); alone {
		return p.terminal != ""
	}
	return slices.ContainsFunc(commands, func(c operation.SSHCommand) bool {
		name := path.Base(c.Program)
		if name != "git" && !strings.HasPrefix(name, "git-") {
			return false
		}
		return slices.ContainsFunc(append([]string{name}, c.Args...), func(word string) bool {
			return slices.ContainsFunc(gitServers, func(server string) bool { return strings.Contains(word, server) })
		})
	})
}

// gitServers are in the names of programs, subcommands and options with which
// git speaks its protocol to whoever is at its standard input.
var gitServers = []string{"receive-pack", "upload-pack", "upload-archive", "daemon", "http-backend", "shell"}

// serveGit runs a service to its end.
func (c *hostChannel) serveGit(run gitwire.Run) {
	_, err := gitwire.Serve(c.ctx, run)
	var broken *protocol.Violation
	switch {
	case err == nil || c.ctx.Err() != nil:
	case errors.As(err, &broken):
		c.say("sluice: " + protocol.Printable(broken.Reason))
		_ = c.server.Close()
	default:
		_ = c.server.Close() // a peer left, or what it said could not be recorded: the channel ends either way
	}
}

// askGit runs a service on the server for a question of our own. What it says
// on stderr is nobody's.
func (c *hostChannel) askGit(ctx context.Context, command gitwire.Command) (gitwire.Stream, error) {
	channel, requests, err := c.session.openChannel(c.session.server, c.session.ahead.intake, "session", nil)
	if err != nil {
		return nil, err
	}
	c.session.wait.Go(func() { discard(requests); channel.gone() })
	c.session.wait.Go(func() { _, _ = io.Copy(io.Discard, channel.Stderr()) })
	stream := &gitStream{channel: channel}
	stream.ended = context.AfterFunc(ctx, func() { _ = channel.Close() })
	version := ssh.Marshal(struct{ Name, Value string }{"GIT_PROTOCOL", "version=2"})
	if _, err = channel.SendRequest("env", true, version); err == nil { // many servers take none: the answer shows
		var ok bool
		ok, err = channel.SendRequest("exec", true, ssh.Marshal(struct{ Line string }{command.String()}))
		if err == nil && !ok {
			err = errors.New("the server does not run git")
		}
	}
	if err != nil {
		return nil, errors.Join(err, stream.Close())
	}
	return stream, nil
}

// gitStream is a channel whose Close lets a server that has said everything
// say how it ended.
type gitStream struct {
	*channel

	ended func() bool // stops waiting for the end of a question; nil: there is none
	mu    sync.Mutex
	over  bool // the server sends no more; guarded by mu
}

// Read implements io.Reader.
func (s *gitStream) Read(p []byte) (int, error) {
	n, err := s.channel.Read(p)
	if errors.Is(err, io.EOF) {
		s.mu.Lock()
		s.over = true
		s.mu.Unlock()
	}
	return n, err
}

// Close implements io.Closer.
func (s *gitStream) Close() error {
	if s.ended != nil {
		s.ended()
		s.drop()
		return s.channel.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return s.channel.CloseWrite()
	}
	return s.channel.Close()
}
