package ssh

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/shelltext"
)

// clientRequests serves a channel's requests in their order.
func (c *hostChannel) clientRequests(queue <-chan *ssh.Request) {
	for request := range queue {
		switch request.Type {
		case "exec", "shell", "subsystem":
			c.start(request)
		case "env":
			c.setEnvironment(request)
		case "pty-req":
			c.makeTerminal(request)
		case "window-change":
			c.resize(request)
		case "signal", "break", "eow@openssh.com", "keepalive@openssh.com":
			c.pass(request)
		default: // x11-req and auth-agent-req@openssh.com among them
			answer(request, false)
		}
	}
}

// pass gives a request to the server as it is.
func (c *hostChannel) pass(request *ssh.Request) bool {
	ok, err := c.server.SendRequest(request.Type, request.WantReply, request.Payload)
	answer(request, ok && err == nil)
	return err == nil && (ok || !request.WantReply)
}

func (c *hostChannel) setEnvironment(request *ssh.Request) {
	var variable struct{ Name, Value string }
	if c.started || len(c.before.environment) >= waitingRequests || ssh.Unmarshal(request.Payload, &variable) != nil {
		answer(request, false)
		return
	}
	text := operation.Text(variable.Name + "=" + variable.Value)
	c.before.environment = append(c.before.environment, operation.Param{Text: text})
	c.before.unsafe = c.before.unsafe || !shelltext.Harmless(variable.Name)
	c.pass(request)
}

// makeTerminal reads RFC 4254, section 6.2.
func (c *hostChannel) makeTerminal(request *ssh.Request) {
	var terminal struct {
		Term                         string
		Columns, Rows, Width, Height uint32
		Modes                        string
	}
	if c.started || ssh.Unmarshal(request.Payload, &terminal) != nil {
		answer(request, false)
		return
	}
	if c.pass(request) {
		c.before.terminal = fmt.Sprintf("%dx%d", terminal.Columns, terminal.Rows)
	}
}

func (c *hostChannel) resize(request *ssh.Request) {
	var size struct{ Columns, Rows, Width, Height uint32 }
	if ssh.Unmarshal(request.Payload, &size) != nil {
		answer(request, false)
		return
	}
	text := fmt.Sprintf("%dx%d", size.Columns, size.Rows)
	if c.op == nil {
		c.before.terminal = text
	} else if err := c.op.Record(protocol.Size, []byte(text)); err != nil {
		c.session.fail(err)
		return
	}
	c.pass(request)
}

// start asks about a program and starts it.
func (c *hostChannel) start(request *ssh.Request) {
	c.starting.Lock()
	defer c.starting.Unlock()
	op, ok := c.classify(request)
	if c.started || !ok {
		answer(request, false)
		return
	}
	c.started = true
	var remind protocol.Reminder
	a, decision, err := c.session.conn.Ask(c.ctx, op, func(why protocol.Waiting) { c.mention(remind.Text(why)) })
	if err != nil || decision.Effect != protocol.Allow {
		c.refuse(request, a, protocol.RefusalOf(decision, err))
		return
	}
	c.mention(decision.Release())
	done, err := c.server.SendRequest(request.Type, true, request.Payload)
	if err != nil || !done {
		c.started = false // the client may try another one
		answer(request, false)
		if err := a.End(protocol.Outcome{Status: protocol.Failed}); err != nil {
			c.session.fail(err)
		}
		return
	}
	answer(request, true)
	c.op = a
	c.relay(a)
}

// classify says what a client asks for.
func (c *hostChannel) classify(request *ssh.Request) (operation.Operation, bool) {
	asked := &operation.SSH{Type: operation.SSHType(request.Type)}
	op := operation.Operation{SSH: asked, Params: c.before.environment, Bytes: bytes.Clone(request.Payload), Parsed: true}
	if request.Type == "shell" {
		op.Kind, op.Text = operation.Shell, operation.Text("")
		return op, len(request.Payload) == 0
	}
	var line struct{ Text string }
	if ssh.Unmarshal(request.Payload, &line) != nil {
		return op, false
	}
	op.Text, asked.Command = operation.Text(line.Text), operation.Text(line.Text)
	if request.Type == "subsystem" {
		op.Kind = operation.Subsystem
		return op, true
	}
	op.Kind = operation.Exec
	asked.Commands, op.Parsed = shelltext.Read(line.Text)
	hidden := len(asked.Commands) > 1 && slices.ContainsFunc(asked.Commands, func(command operation.SSHCommand) bool { return isFileServer(command.Program) })
	hidden = hidden || c.before.hidesGit(line.Text, asked.Commands)
	op.Parsed = op.Parsed && !c.before.unsafe && !hidden
	return op, true
}

// refuse ends a channel whose program was not started. ssh(1) shows what a
// program writes, and nothing of a request that failed: so we are the program.
func (c *hostChannel) refuse(request *ssh.Request, a *protocol.Asked, why string) {
	answer(request, true)
	if err := a.End(protocol.Outcome{Status: protocol.Refused}); err != nil {
		c.session.fail(err)
	}
	c.say(why)
	c.exitWith(1)
}

// exitWith tells the client that its program ended, and closes the channel.
func (c *hostChannel) exitWith(status uint32) {
	_, _ = c.client.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	c.endOutput()
	_ = c.client.Close()
	_ = c.server.Close()
}

// exitPatience is how long the end of a program's output waits for how it ended.
// One that closes its output and goes on is longer.
const exitPatience = time.Second

// endProgram ends the output of a program, after the client was told how it ended:
// a server may say the two in either order, and a client that has heard of the
// end, and has nothing more to say itself, closes the channel, through which
// nothing can be told it any more.
func (c *hostChannel) endProgram() {
	select {
	case <-c.told:
	case <-c.ctx.Done():
	case <-time.After(exitPatience):
	}
	c.endOutput()
}

// endOutput tells the client that its program writes no more. The channel must
// not be written to meanwhile: when a client does not read what is being said to
// it, the close that follows tells it instead.
func (c *hostChannel) endOutput() {
	if c.errMu.TryLock() {
		defer c.errMu.Unlock()
		_ = c.client.CloseWrite()
	}
}

// say writes a line to the client's stderr.
func (c *hostChannel) say(text string) {
	c.errMu.Lock()
	defer c.errMu.Unlock()
	end := "\n"
	if c.before.terminal != "" {
		end = "\r\n"
	}
	_, _ = c.client.Stderr().Write([]byte(text + end)) // a client that is gone is noticed elsewhere
}

// maxNotes is how many lines may wait for a client that does not read them.
const maxNotes = 16

// mention is say that waits for nobody. "" is nothing to say.
func (c *hostChannel) mention(text string) {
	if text == "" {
		return
	}
	c.notesMu.Lock()
	defer c.notesMu.Unlock()
	if len(c.notes) >= maxNotes {
		return
	}
	c.notes = append(c.notes, text)
	if len(c.notes) == 1 {
		c.session.wait.Go(c.sayNotes)
	}
}

// sayNotes says what was mentioned until there is no more.
func (c *hostChannel) sayNotes() {
	for {
		c.notesMu.Lock()
		text := c.notes[0]
		c.notesMu.Unlock()
		c.say(text)
		c.notesMu.Lock()
		c.notes = c.notes[1:]
		more := len(c.notes) > 0
		c.notesMu.Unlock()
		if !more {
			return
		}
	}
}
