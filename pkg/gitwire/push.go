package gitwire

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// answerWithin is how long the server may take for one question.
const answerWithin = 30 * time.Second

// push serves git-receive-pack: the advertisement passes, then everything that
// the client sends is kept, understood and decided about, and then forwarded
// as it came.
func (s *service) push(ctx context.Context) error {
	line := s.preface
	if s.Stateless {
		line = func([]byte) error { return nil }
	}
	offered, err := relayAdvertisement(s.server, line)
	if err != nil {
		return err
	}
	if offered.none {
		return s.unoffered()
	}
	asked, err := readRequest(s.client, offered, s.Limits.Request, s.own)
	if err != nil {
		return s.misread(ctx, asked, offered.format, err)
	}
	if len(asked.updates) == 0 {
		return s.nothing(asked)
	}
	sent, op, err := s.propose(ctx, &asked, offered)
	defer sent.close()
	if err != nil {
		return s.misread(ctx, asked, offered.format, err)
	}
	exchange, decision, err := s.begin(ctx, &op, s.progress(&asked))
	if exchange == nil {
		return err
	}
	if err != nil || decision.Effect != protocol.Allow {
		return errors.Join(err, s.finish(exchange, asked.refusal(refusal(decision, err)), protocol.Outcome{Status: protocol.Refused}))
	}
	if text := printable(decision.Release()); text != "" {
		_ = s.progress(&asked)(text) // a client that is gone is noticed below
	}
	return s.forward(ctx, exchange, &asked, sent)
}

// propose reads the pack, and says what the push would do.
func (s *service) propose(ctx context.Context, asked *request, offered advertisement) (sent *pack, op operation.Operation, err error) {
	if asked.packed() {
		if sent, err = readPack(ctx, s.client, offered.format, s.Limits, s.share()); err != nil {
			return sent, op, err
		}
	}
	h := historian{pack: sent, format: offered.format, ask: s.asker(), tips: offered.tips, shallow: asked.shallow}
	p := proposal{repository: s.Command.Repository, request: asked, pack: sent, format: offered.format, changes: h.judge(ctx, asked.updates)}
	op = p.operation()
	sent.forget()
	return sent, op, nil
}

// unoffered ends a run whose server said an error in place of what it has. The
// client heard of it, but for one that asks in another request.
func (s *service) unoffered() error {
	if !s.Stateless {
		return nil
	}
	return s.preface(appendPacket(nil, "ERR sluice: the server does not offer the repository\n"))
}

// nothing passes the end of a client that changes nothing.
func (s *service) nothing(asked request) error {
	if s.Stateless {
		return nil // it asked whether it may, and it may
	}
	if _, err := s.Server.Write(asked.raw); err != nil {
		return err
	}
	_ = s.Server.CloseWrite() // the server may have left already
	return s.server.each(s.preface)
}

// asker returns how the server is asked; nil where it cannot be.
func (s *service) asker() func(context.Context, question) (answer, error) {
	if s.Open == nil {
		return nil
	}
	return func(ctx context.Context, q question) (answer, error) {
		ctx, cancel := context.WithTimeout(ctx, answerWithin)
		defer cancel()
		return ask(ctx, s.Open, s.Command.Repository, q, s.Limits, s.share())
	}
}

// progress returns how a client that pushes is told something while it waits:
// by the progress band where it has one.
func (s *service) progress(asked *request) func(string) error {
	if !asked.banded() {
		return s.note
	}
	return func(text string) error {
		_, err := s.Answer.Write(appendBand(nil, bandProgress, []byte(text+"\n")))
		return err
	}
}

func (s *service) note(text string) error {
	if s.Note != nil {
		s.Note(text)
	}
	return nil
}

// misread refuses a push that was not understood, or that is too large. The
// guard hears of it, so that it is recorded, and cannot allow it.
func (s *service) misread(ctx context.Context, asked request, f format, cause error) error {
	var broken packFault
	var violated *protocol.Violation
	reason := "sluice: this push could not be read"
	code := "unread"
	switch {
	case tooLarge(cause):
		reason, code = "sluice: "+cause.Error(), "too-large"
	case errors.As(cause, &broken) || errors.Is(cause, errPackCut):
		reason, code = "sluice: "+cause.Error(), "malformed"
		cause = malformed("%v", cause)
	case errors.As(cause, &violated):
		reason, code = "sluice: "+violated.Reason, "malformed"
	}
	op := operation.Operation{
		Kind: operation.Push, Text: operation.Text(asked.raw), Bytes: asked.raw,
		Git: &operation.Git{Repository: s.Command.Repository, Refs: unjudged(&asked, f)},
	}
	exchange, err := s.report(ctx, &op)
	if err != nil {
		return errors.Join(cause, err)
	}
	refused := s.finish(exchange, asked.refusal(printable(reason)), protocol.Outcome{Status: protocol.Refused, Code: code, Rule: code})
	if tooLarge(cause) {
		cause = nil // a refusal, not a fault
	}
	return errors.Join(cause, refused)
}

// errServerGaveUp reports that a server takes no more of a push. What it was told
// because the push could not go on is no answer of its own.
var errServerGaveUp = errors.New("the server takes no more")

// forward sends what was decided about, and the server's answer back. Both go
// on at once: a server may answer, or give up, before it has read everything.
// The objects are named meanwhile.
func (s *service) forward(ctx context.Context, exchange protocol.Exchange, asked *request, sent *pack) error {
	log := &recorder{exchange: exchange, began: s.began}
	delivered := make(chan error, 1)
	go func() {
		err := s.deliver(log, asked, sent)
		if err != nil {
			_ = s.Server.Close() // it would wait for the rest
		}
		delivered <- err
	}()
	naming, stop := context.WithCancel(ctx)
	defer stop()
	named := make(chan error, 1)
	go func() {
		if sent == nil {
			named <- nil
			return
		}
		named <- s.nameObjects(naming, log, sent)
	}()
	report := newReport(asked)
	relay := s.relay
	if s.Hide != nil && asked.banded() {
		relay = s.relayClean
	}
	err := relay(log, report.watch)
	_ = s.Server.Close() // nothing more is read: what is still being written has no reader
	outcome := report.outcome()
	if err != nil {
		stop()
	}
	err = errors.Join(err, <-named)
	failed := <-delivered
	if errors.Is(failed, errServerGaveUp) && outcome.Status == protocol.Failed {
		failed = nil // it said why
	}
	err = errors.Join(err, failed)
	if err != nil {
		outcome.Status = protocol.Abandoned
	}
	return errors.Join(err, exchange.Done(outcome))
}

// deliver writes the push as it came, each chunk recorded first: the commands
// whole, the pack as a program's input.
func (s *service) deliver(log *recorder, asked *request, sent *pack) error {
	if err := log.request(asked.raw); err != nil {
		return err
	}
	if _, err := s.Server.Write(asked.raw); err != nil {
		return fmt.Errorf("forward a push: %w: %w", errServerGaveUp, err)
	}
	if sent != nil {
		if err := s.deliverPack(log, sent); err != nil {
			return err
		}
	}
	if err := s.Server.CloseWrite(); err != nil {
		return fmt.Errorf("end a push: %w: %w", errServerGaveUp, err)
	}
	return nil
}

func (s *service) deliverPack(log *recorder, sent *pack) error {
	from, digest := sent.store.reader(), protocol.Whole+hex.EncodeToString(sent.digest[:])
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(from, buf)
		if n > 0 {
			if err := log.digested(buf[:n], digest); err != nil {
				return err
			}
			if _, err := s.Server.Write(buf[:n]); err != nil {
				return fmt.Errorf("forward a pack: %w: %w", errServerGaveUp, err)
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read a kept pack: %w", err)
		}
	}
}
