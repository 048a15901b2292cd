package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// faults turns the server's asynchronous refusals into errors of the calls
// that they belong to. To NATS a refused publication is a message on the side,
// and its publisher would wait until a time-out that looks like "server away".
type faults struct {
	log     *zap.Logger
	refused func(error) // hears each refusal; may be nil

	mu      sync.Mutex
	waiting map[*wait]struct{} // guarded by mu
}

type wait struct {
	subject string
	cancel  context.CancelCauseFunc
}

func newFaults(log *zap.Logger, refused func(error)) *faults {
	return &faults{log: log, refused: refused, waiting: map[*wait]struct{}{}}
}

// handle is the connection's error handler.
func (f *faults) handle(_ *nats.Conn, _ *nats.Subscription, err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		f.log.Warn("the bus reports an error", zap.Error(err))
		return
	}
	refusal := fmt.Errorf("%w: %w", ErrRefused, err)
	f.log.Error("the bus refuses a subject", zap.Error(err))
	f.mu.Lock()
	for w := range f.waiting {
		if strings.Contains(err.Error(), strconv.Quote(w.subject)) {
			w.cancel(refusal)
		}
	}
	f.mu.Unlock()
	if f.refused != nil {
		f.refused(refusal)
	}
}

// watch returns a context that ends with the refusal when the server refuses
// subject, and a function that ends the watch.
func (f *faults) watch(ctx context.Context, subject string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &wait{subject: subject, cancel: cancel}
	f.mu.Lock()
	f.waiting[w] = struct{}{}
	f.mu.Unlock()
	return ctx, func() {
		f.mu.Lock()
		delete(f.waiting, w)
		f.mu.Unlock()
		cancel(nil)
	}
}

// request sends and waits for one answer, until ctx ends.
func (f *faults) request(ctx context.Context, conn *nats.Conn, msg *nats.Msg) (*nats.Msg, error) {
	watched, done := f.watch(ctx, msg.Subject)
	defer done()
	answer, err := conn.RequestMsgWithContext(watched, msg)
	if err == nil {
		return answer, nil
	}
	if cause := context.Cause(watched); cause != nil && errors.Is(cause, ErrRefused) {
		return nil, cause
	}
	return nil, err
}
