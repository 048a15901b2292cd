package broker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
)

const (
	// maxQuestions is how many of one proxy's questions are answered at once.
	maxQuestions = 256
	// silence is how long a proxy may say nothing; it says something each
	// second.
	silence = 30 * time.Second
	// exitWait is how long a proxy that has hung up may take to exit.
	exitWait = 5 * time.Second
)

// proxy is one process that proxies, as the privileged half sees it.
type proxy struct {
	*Broker
	link      *link
	cmd       *exec.Cmd
	fail      context.CancelCauseFunc // ends it
	ready     atomic.Bool
	able      bool          // used by the receiving goroutine alone
	greeted   bool          // used by the receiving goroutine alone
	questions chan struct{} // one place for each that is being answered
	budget    *budget
	left      chan []byte   // of one: the baton
	ended     chan struct{} // closed when the process has ended
	answering sync.WaitGroup
	tables    uint32      // how many it was sent; guarded by Broker.telling
	heard     chan uint32 // which of them are in force there
}

// runProxy starts a proxy and returns when it has ended, and why. ready says
// whether it ever took connections.
func (b *Broker) runProxy(ctx context.Context) (ready bool, err error) {
	p, err := b.start()
	if err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- p.cmd.Wait()
		close(p.ended)
	}()

	// What the proxy needs to end in good order outlives ctx.
	serving, fail := context.WithCancelCause(context.WithoutCancel(ctx))
	p.fail = fail
	var work sync.WaitGroup
	work.Go(func() { p.fail(p.listen(serving)) })
	stop := context.AfterFunc(ctx, p.stop)
	defer stop()
	err = p.wait(ctx, serving, ended)
	b.dismiss(p)
	b.part(p)
	fail(nil)
	_ = p.link.close() // ends listen
	work.Wait()
	p.answering.Wait()
	return p.ready.Load(), err
}

// wait returns when the process has ended, and why; nil: in good order. ctx
// asks it to end, and serving ends with a cause to kill it.
func (p *proxy) wait(ctx, serving context.Context, ended <-chan error) error {
	select {
	case err := <-ended:
		if err == nil && ctx.Err() == nil && !p.isRetired() {
			err = errors.New("nobody asked it to end")
		}
		return err
	case <-serving.Done():
	}
	if (ctx.Err() != nil || p.isRetired()) && isGone(context.Cause(serving)) {
		select {
		case err := <-ended:
			return err
		case <-time.After(exitWait):
		}
	}
	_ = p.cmd.Process.Kill() // gone already, or not for long
	exit := <-ended
	return errors.Join(context.Cause(serving), exit)
}

// isGone reports whether the other end of a link was closed, as it was seen by
// one who reads or by one who answers.
func isGone(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// start starts the process. Should this one die, so does it.
func (b *Broker) start() (*proxy, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("start the proxy: %w", err)
	}
	defer theirs.Close() //nolint:errcheck // the proxy has its own descriptor
	records, err := b.Redirect.OpenRecords()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the proxy: %w", err), ours.close())
	}
	defer records.Close() //nolint:errcheck // as above
	cmd := b.Command()
	cmd.ExtraFiles = append(cmd.ExtraFiles, theirs, records.Origins, records.Lineages) // in the order of their numbers
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start the proxy: %w", err), ours.close())
	}
	p := b.proxy(ours)
	p.cmd = cmd
	return p, nil
}

// proxy is what is at the other end of a link.
func (b *Broker) proxy(l *link) *proxy {
	return &proxy{
		Broker: b, link: l, questions: make(chan struct{}, maxQuestions), budget: newBudget(b.Redirect.Arrived),
		left: make(chan []byte, 1), ended: make(chan struct{}), heard: make(chan uint32, maxUnheard),
	}
}

// stop asks the proxy to end in good order, within a bounded time.
func (p *proxy) stop() {
	p.dismiss(p)
	p.link.impatient()
	if err := p.link.send(kindStop, 0, nil); err != nil {
		p.fail(err)
		return
	}
	time.AfterFunc(stopWait, func() { p.fail(errors.New("it did not end in time")) })
}

// listen takes what the proxy says until it breaks the form or is gone.
func (p *proxy) listen(ctx context.Context) error {
	for {
		if err := p.link.conn.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return err
		}
		said, err := p.link.receive()
		if err != nil {
			return err
		}
		if err := p.hear(ctx, said); err != nil {
			return fmt.Errorf("it said what no proxy says (kind %d): %w", said.kind, err)
		}
	}
}

// hear takes one packet. An error condemns the proxy.
func (p *proxy) hear(ctx context.Context, said packet) error {
	if !p.greeted {
		return p.greet(said)
	}
	switch said.kind {
	case kindBeat:
		return empty(said.body)
	case kindAble:
		return p.becomeAble(said.body)
	case kindReady:
		return p.becomeReady(ctx, said.body)
	case kindLeft:
		return p.hasLeft(said.body)
	case kindTold:
		return p.isTold(said)
	case kindProbed:
		return p.hasProbed(said.body)
	}
	question, err := p.read(said)
	if err != nil {
		return err
	}
	if !p.budget.spend(cost(said)) {
		p.answer(said.number, reply{err: errTooMany})
		return nil
	}
	select {
	case p.questions <- struct{}{}:
	default:
		p.answer(said.number, reply{err: errTooMany})
		return nil
	}
	number := said.number
	p.answering.Go(func() {
		defer func() { <-p.questions }()
		p.answer(number, question(ctx))
	})
	return nil
}

// mountsCost is what the node's mounts take of the budget: the kernel holds them
// still while it writes them down, and they can be megabytes.
const mountsCost = 32

// cost is what a question takes of the budget: each socket counts.
func cost(said packet) int {
	switch said.kind {
	case kindSocket:
		return int(said.body[1])
	case kindMounts:
		return mountsCost
	}
	return 1
}

// hasProbed takes a connection of the self-test that the proxy accepted. One
// that lies about it can only make itself look alive.
func (p *proxy) hasProbed(body []byte) error {
	var what passed
	if err := unpackAll(body, &what); err != nil {
		return err
	}
	p.Redirect.Probed(what.origin(p.booted))
	return nil
}

var errTooMany = errors.New("too many questions")

// greet checks that the proxy is of this version, and tells it whose
// destinations are whose.
func (p *proxy) greet(said packet) error {
	var theirs uint16
	if said.kind != kindHello {
		return errMalformed
	}
	if err := unpackAll(said.body, &theirs); err != nil {
		return err
	}
	if theirs != version {
		return fmt.Errorf("it speaks version %d, not %d", theirs, version)
	}
	p.greeted = true
	return p.welcome(p)
}

// becomeAble tells the proxy how to begin, once.
func (p *proxy) becomeAble(body []byte) error {
	if err := empty(body); err != nil {
		return err
	}
	if p.able {
		return errMalformed
	}
	p.able = true
	return p.begin(p)
}

// hasLeft takes what the proxy hands over, which was asked of it.
func (p *proxy) hasLeft(baton []byte) error {
	p.mu.Lock()
	asked := p.phase == leaving && p.current == p
	p.mu.Unlock()
	if !asked || len(baton) == 0 || len(baton) > maxBaton {
		return errMalformed
	}
	select {
	case p.left <- bytes.Clone(baton):
		return nil
	default:
		return errMalformed
	}
}

// becomeReady lets connections come.
func (p *proxy) becomeReady(ctx context.Context, body []byte) error {
	var accepts uint8
	if err := unpackAll(body, &accepts); err != nil {
		return err
	}
	if p.ready.Swap(true) || accepts > 1 {
		return errMalformed
	}
	if err := p.Ready(); err != nil {
		return err
	}
	p.Log.Info("This node is guarded",
		zap.Int("pid", syscall.Getpid()), zap.Int("proxy_pid", p.cmd.Process.Pid), zap.Bool("proxy_accepts", accepts == 1))
	waiting := p.appoint(p)
	p.answering.Go(func() { p.tellAll(ctx, waiting) })
	if accepts == 0 {
		return p.Redirect.Lend(false)
	}
	p.answering.Go(func() { p.lendAll(ctx) })
	return p.Redirect.Lend(true)
}
