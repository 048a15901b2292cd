package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// fetch serves git-upload-pack as one operation. References pass: in v0 and v1
// the advertisement, in v2 the answers to ls-refs, which is the same. Whatever
// else the client asks first, and every object, waits for the decision.
// Afterwards both directions pass as they are, recorded; what the client goes
// on to want is in the record, and is not decided about again: the decision is
// about the repository.
func (s *service) fetch(ctx context.Context) error {
	if s.Stateless {
		return s.request(ctx)
	}
	version2, ended, err := s.advertised()
	if err != nil || ended {
		return err
	}
	var asked []byte
	if version2 {
		asked, err = s.commands()
	} else {
		asked, err = s.wants()
	}
	if err != nil {
		return s.misasked(ctx, asked, err)
	}
	if asked == nil {
		return s.leave(nil)
	}
	return s.decideFetch(ctx, asked)
}

// request serves one request of HTTP, which says by itself which protocol it
// is of.
func (s *service) request(ctx context.Context) error {
	asked, first, err := s.group()
	switch {
	case err != nil:
		return s.misasked(ctx, asked, err)
	case asked == nil || string(asked) == flushLine:
		return s.leave(nil)
	case first != listRefs:
		if asked, err = s.rest(asked); err != nil {
			return s.misasked(ctx, asked, err)
		}
		return s.decideFetch(ctx, asked)
	}
	if err := s.client.want(1); !errors.Is(err, io.EOF) {
		return s.misasked(ctx, asked, errors.Join(malformed("something follows a list of references"), err))
	}
	if err := s.list(asked); err != nil {
		return err
	}
	_ = s.Server.CloseWrite() // the server may have ended already
	return s.server.each(s.preface)
}

// advertised passes what the server says first. In v2 that is its
// capabilities.
func (s *service) advertised() (version2, ended bool, err error) {
	for n := 0; ; n++ {
		p, err := s.server.packet()
		if errors.Is(err, io.EOF) && n == 0 {
			return false, true, errServerGone
		}
		if err != nil {
			return false, true, serverFault(err)
		}
		if err := s.preface(p.raw); err != nil {
			return false, true, err
		}
		switch {
		case p.kind == flushPacket:
			return version2, false, nil
		case p.kind != dataPacket:
			return false, true, violation(protocol.ServerLeg, "an advertisement holds a packet that is no line")
		case strings.HasPrefix(p.line(), "ERR "):
			return false, true, nil
		case n == 0 && p.line() == "version 2":
			version2 = true
		}
	}
}

// group takes pkt-lines up to and with a flush packet. It returns none where
// the client has ended.
func (s *service) group() (asked []byte, first string, err error) {
	for {
		p, err := s.client.packet()
		if errors.Is(err, io.EOF) && asked == nil {
			return nil, "", nil
		}
		if err != nil {
			return asked, first, malformed("%v", err)
		}
		if err := s.wanted(len(asked), len(p.raw)); err != nil {
			return asked, first, err
		}
		if asked == nil {
			first = p.line()
		}
		asked = append(asked, p.raw...)
		if p.kind == flushPacket {
			return asked, first, nil
		}
	}
}

// wanted takes the memory for n bytes more of what is asked.
func (s *service) wanted(asked, n int) error {
	if asked+n > s.Limits.Request || !s.own.keep(4*int64(n)) {
		return malformed("what is wanted: %v", errLimit)
	}
	return nil
}

// rest takes what follows in the body of a request, which is forwarded whole.
func (s *service) rest(asked []byte) ([]byte, error) {
	err := s.client.each(func(chunk []byte) error {
		if err := s.wanted(len(asked), len(chunk)); err != nil {
			return err
		}
		asked = append(asked, chunk...)
		return nil
	})
	if err != nil {
		return asked, malformed("%v", err)
	}
	return asked, nil
}

// wants takes the first thing that a client of protocol v0 or v1 asks.
func (s *service) wants() ([]byte, error) {
	asked, _, err := s.group()
	if string(asked) == flushLine {
		return nil, err // it only wanted to see the references
	}
	return asked, err
}

// commands serves ls-refs until the client asks something else.
func (s *service) commands() ([]byte, error) {
	for {
		asked, first, err := s.group()
		if err != nil || asked == nil || string(asked) == flushLine {
			return nil, err
		}
		if first != listRefs {
			return asked, nil
		}
		if err := s.list(asked); err != nil {
			return nil, err
		}
		if err := s.answer(); err != nil {
			return nil, err
		}
		s.own.forget()
	}
}

// listRefs is the command of protocol v2 for what an advertisement says.
const listRefs = "command=ls-refs"

// list asks the server for references.
func (s *service) list(asked []byte) error {
	if s.Preface != nil {
		if err := s.Preface(protocol.Request, asked); err != nil {
			return err
		}
	}
	_, err := s.Server.Write(asked)
	return err
}

// answer passes one answer of the server, which ends with a flush packet.
func (s *service) answer() error {
	for {
		p, err := s.server.packet()
		if err != nil {
			return serverFault(err)
		}
		if err := s.preface(p.raw); err != nil {
			return err
		}
		if p.kind == flushPacket {
			return nil
		}
	}
}

// leave ends a conversation in which nothing was asked for.
func (s *service) leave(err error) error {
	if err != nil || s.Stateless {
		return err
	}
	s.dismiss()
	return s.server.each(s.preface)
}

// misasked refuses what was not understood. The guard hears of it, so that it
// is recorded, and cannot allow it.
func (s *service) misasked(ctx context.Context, asked []byte, cause error) error {
	var violated *protocol.Violation
	if !errors.As(cause, &violated) || violated.Leg != protocol.ClientLeg {
		return cause
	}
	op := s.fetchOperation(asked, false)
	exchange, err := s.report(ctx, &op)
	if err != nil {
		return errors.Join(cause, err)
	}
	answer := appendPacket(nil, "ERR sluice: "+violated.Reason+"\n")
	return errors.Join(cause, s.finish(exchange, answer, protocol.Outcome{Status: protocol.Refused, Code: "malformed", Rule: "malformed"}))
}

// fetchOperation describes a fetch by what is asked first.
func (s *service) fetchOperation(asked []byte, parsed bool) operation.Operation {
	return operation.Operation{
		Kind: operation.Fetch, Text: operation.Text(s.fetchText(asked)), Bytes: asked, Parsed: parsed, ReadOnly: parsed,
		Git: &operation.Git{Repository: s.Command.Repository},
	}
}

// fetchText says in words what is asked: the lines of the request, as they
// are.
func (s *service) fetchText(asked []byte) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s of %s\n", s.Command.Service, s.Command.Repository)
	var lines packets
	lines.feed(asked, func(p packet) {
		if p.kind == dataPacket && t.Len() < maxText {
			text, _, _ := strings.Cut(p.line(), "\x00")
			t.WriteString(text + "\n")
		}
	})
	return t.String()
}

// decideFetch asks about a fetch and serves it.
func (s *service) decideFetch(ctx context.Context, asked []byte) error {
	op := s.fetchOperation(asked, true)
	exchange, decision, err := s.begin(ctx, &op, s.note)
	if exchange == nil {
		return err
	}
	if err != nil || decision.Effect != protocol.Allow {
		return errors.Join(err, s.finish(exchange, s.no(refusal(decision, err)), protocol.Outcome{Status: protocol.Refused}))
	}
	if text := printable(decision.Release()); text != "" {
		_ = s.note(text)
	}
	log := &recorder{exchange: exchange, began: s.began}
	err = s.both(log, asked)
	outcome := protocol.Outcome{Status: protocol.OK}
	if err != nil {
		outcome.Status = protocol.Abandoned
	}
	return errors.Join(err, exchange.Done(outcome))
}

// no is the answer to what is refused.
func (s *service) no(reason string) []byte {
	if s.Command.Service == UploadArchive {
		return appendPacket(nil, "NACK "+reason+"\n")
	}
	return appendPacket(nil, "ERR "+reason+"\n")
}

// both passes both directions until the server has ended.
func (s *service) both(log *recorder, asked []byte) error {
	if err := log.request(asked); err != nil {
		return err
	}
	if _, err := s.Server.Write(asked); err != nil {
		return fmt.Errorf("forward a fetch: %w", err)
	}
	defer log.end()
	if s.Stateless {
		s.follow(log)
	} else {
		s.Go(func() { s.follow(log) })
	}
	return s.relay(log, func([]byte) {})
}

// follow passes what the client goes on to say: what it has, further rounds,
// its end.
func (s *service) follow(log *recorder) {
	err := s.client.each(func(chunk []byte) error {
		if err := log.request(chunk); err != nil {
			return err
		}
		_, err := s.Server.Write(chunk)
		return err
	})
	if err != nil {
		_ = s.Server.Close() // half a conversation is none
		return
	}
	_ = s.Server.CloseWrite() // it may have ended by itself
}
