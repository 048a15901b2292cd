package gitwire

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// Run is one service between a client and a server, as a transport has it.
type Run struct {
	Command Command
	// Client is what the client sends. A read of it may be waited in when Serve
	// returns: it ends with the stream, which is the transport's to end. Go runs
	// what waits there, so that the transport can wait for it in turn.
	Client io.Reader
	Go     func(func())
	Answer io.Writer // what the client receives
	Server Stream    // the service, started; Serve closes it
	Open   Opener    // for questions of ours about the same repository; nil: there is no way to ask
	Guard  protocol.Guard
	Parent uint64 // the operation that started the service; 0 for none
	Limits Limits
	// Room is where packs wait, for the workload that is named by a number of
	// the transport's; nil: it has no bounds but Limits.
	Room     *Room
	Workload uint64
	// Note says something to the person at the client beside the protocol, as
	// on stderr; nil: there is no such way.
	Note func(text string)
	// Preface keeps what passes before there is an operation: advertisements.
	// It must return nil before the chunk is forwarded.
	Preface func(stream protocol.Stream, chunk []byte) error
	// Hide overwrites in a text what the client must not see, such as what the
	// agent logs in with, and returns how much of the text is decided; behind it may
	// stand the beginning of more, unless the text is whole. It is for what programs
	// of the server's say while they take a push; nil: there is nothing to hide.
	Hide func(text []byte, whole bool) (decided int)
	// Stateless says that this is one request of HTTP (gitprotocol-http(5)): the
	// client had the advertisement in another one, by Advertise, and what Client
	// gives ends by itself. The server's stream begins with an advertisement for
	// ReceivePack alone.
	Stateless bool
}

// Serve runs a service to its end and closes the server's stream. It reports
// whether the operation was refused, so that the transport can end as for a
// failed command. A *protocol.Violation says that a peer broke the protocol;
// the client has been told then.
func Serve(ctx context.Context, run Run) (refused bool, err error) {
	run.Limits = run.Limits.withDefaults()
	s := &service{Run: run, began: time.Now(), client: newSource(run.Client), server: newSource(run.Server)}
	defer func() { _ = run.Server.Close() }() // it has ended, or shall
	s.own = s.share()
	defer s.own.end()
	switch run.Command.Service {
	case ReceivePack:
		err = s.push(ctx)
	case UploadArchive:
		err = s.archive(ctx)
	default:
		err = s.fetch(ctx)
	}
	return s.refused, err
}

// service is a run with its two streams.
type service struct {
	Run

	began   time.Time
	client  *source
	server  *source
	own     *share // of the memory, for what the client asks
	refused bool
}

// noteEvery is how often a client that waits is told so.
const noteEvery = 5 * time.Second

// begin asks about an operation and waits for the answer. say tells the client
// that it waits.
func (s *service) begin(ctx context.Context, op *operation.Operation, say func(string) error) (protocol.Exchange, protocol.Decision, error) {
	op.Parent = s.Parent
	exchange, err := s.Guard.Begin(ctx, op)
	if err != nil {
		return nil, protocol.Decision{}, err
	}
	var remind protocol.Reminder
	decision, err := exchange.Decide(ctx, func(w protocol.Waiting) {
		if !remind.Due(w.Elapsed, noteEvery) {
			return
		}
		_ = say(printable(w.String())) // a client that is gone is noticed where it is read
	})
	return exchange, decision, err
}

// report tells the guard of an operation that is refused whatever it answers.
// Nobody is asked for an approval: the context has ended.
func (s *service) report(ctx context.Context, op *operation.Operation) (protocol.Exchange, error) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	exchange, _, err := s.begin(ctx, op, s.note)
	if exchange == nil {
		return nil, err
	}
	return exchange, nil // that nothing was decided is a deny
}

// recorder is an exchange that both directions of a stream record in.
type recorder struct {
	began time.Time

	mu       sync.Mutex
	exchange protocol.Exchange // guarded by mu
	ended    bool              // guarded by mu; nothing more can be recorded
}

// errEnded reports a chunk that came when its operation was over.
var errEnded = errors.New("git: the operation has ended")

func (r *recorder) request(chunk []byte) error  { return r.record(protocol.Request, chunk) }
func (r *recorder) objects(chunk []byte) error  { return r.record(protocol.Objects, chunk) }
func (r *recorder) response(chunk []byte) error { return r.record(protocol.Response, chunk) }

func (r *recorder) record(stream protocol.Stream, chunk []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return errEnded
	}
	return r.exchange.Record(stream, time.Since(r.began), chunk)
}

// digested records a chunk of input of which a digest is known.
func (r *recorder) digested(chunk []byte, digest string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return errEnded
	}
	return r.exchange.Digested(protocol.Input, time.Since(r.began), chunk, func() string { return digest })
}

// end waits for a chunk that is being recorded, and takes no other.
func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// relay copies what the server says to the client, each chunk recorded first,
// and shows it to watch.
func (s *service) relay(log *recorder, watch func([]byte)) error {
	return s.server.each(func(chunk []byte) error {
		if err := log.response(chunk); err != nil {
			return err
		}
		watch(chunk)
		_, err := s.Answer.Write(chunk)
		return err
	})
}

// finish ends a refused operation with what the client is told.
func (s *service) finish(exchange protocol.Exchange, answer []byte, outcome protocol.Outcome) error {
	s.refused = true
	s.dismiss()
	if err := exchange.Finish(time.Since(s.began), answer, outcome); err != nil {
		return err
	}
	if _, err := s.Answer.Write(answer); err != nil {
		return err
	}
	s.heard()
	return nil
}

// lingers is how long a client that was refused may take to notice.
const lingers = time.Second

// heard waits until the client has ended. One that is still saying something,
// as git is in protocols v0 and v1, would be killed by the pipe that is closed
// under it, before it reads why it was refused.
func (s *service) heard() {
	ended := make(chan struct{})
	s.Go(func() {
		defer close(ended)
		_ = s.client.each(func([]byte) error { return nil }) // that it ends is all that counts
	})
	select {
	case <-ended:
	case <-time.After(lingers):
	}
}

// share is what the run, or one pack of it, has of the room.
func (s *service) share() *share {
	if s.Room == nil {
		return nil
	}
	return &share{room: s.Room, workload: s.Workload}
}

// preface forwards a chunk to the client before there is an operation.
func (s *service) preface(chunk []byte) error {
	if s.Preface != nil {
		if err := s.Preface(protocol.Response, chunk); err != nil {
			return err
		}
	}
	_, err := s.Answer.Write(chunk)
	return err
}

// dismiss ends the server as for a client that wants nothing. Over HTTP it has
// not been asked for anything yet.
func (s *service) dismiss() {
	if s.Stateless {
		return
	}
	_, _ = s.Server.Write([]byte(flushLine)) // it may have left already
	_ = s.Server.CloseWrite()                // likewise
}
