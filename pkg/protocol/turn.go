package protocol

import (
	"fmt"
	"time"
)

const (
	// turnsAtOnce is how many turns a session may have before others have theirs.
	turnsAtOnce = 16
	// heavyInput is so much to be looked at that the loop is not kept waiting
	// for it.
	heavyInput = 128 << 10
)

// drive lets the conversation go on as far as it can without waiting. on is the
// poller whose goroutine this is; nil: it may take long.
func (p *Pump) drive(on *poller) {
	var leg Leg
	defer func() {
		if recover() == nil {
			return
		}
		p.mu.Lock()
		p.busy = false // for panicked
		p.mu.Unlock()
		p.panicked(leg)
	}()
	for turns := 0; ; turns++ {
		p.hear()
		if on != nil && p.heavy() {
			p.work.Go(func() { p.drive(nil) })
			return
		}
		if on != nil && turns == turnsAtOnce {
			on.eager = append(on.eager, p)
			return
		}
		leg = ClientLeg
		moved := p.turn(leg)
		leg = ServerLeg
		if p.turn(leg) || moved {
			continue
		}
		p.flush()
		if p.leave() {
			return
		}
	}
}

// heavy reports whether the next call takes longer than other sessions should
// wait.
func (p *Pump) heavy() bool {
	if p.ended {
		return false
	}
	for _, w := range p.wires {
		if w != nil && w.w-w.r > heavyInput {
			return true
		}
	}
	return p.slow
}

// turn does the next thing on behalf of a leg, and reports whether there was
// one.
func (p *Pump) turn(leg Leg) bool {
	w := p.wires[leg]
	if p.ended || w == nil || w.over && !w.again || w.waits || w.paused || p.crowded(leg) {
		return false
	}
	switch {
	case leg == ClientLeg && p.answered:
		p.decided()
	case w.again:
		p.feed(leg, w)
	case w.eof:
		w.over = true
		p.change(leg, leg, Closed)
	case w.more:
		p.keep()
		if err := w.makeRoom(p.limit); err != nil {
			p.finish(&Violation{Leg: leg, Reason: err.Error()})
			return true
		}
		if w.fill() {
			p.feed(leg, w)
			return true
		}
		return w.eof
	default:
		return false
	}
	return true
}

// crowded reports whether a leg has to wait because a peer does not read. What
// the server sends waits for the client; what the client sends waits for the
// server, and when answers of ours pile up.
func (p *Pump) crowded(leg Leg) bool {
	if leg == ServerLeg {
		return p.wires[ClientLeg].queued() > maxQueue
	}
	return p.wires[ClientLeg].queued() > 2*maxQueue || p.wires[ServerLeg].queued() > maxQueue
}

// feed gives the conversation what a leg has.
func (p *Pump) feed(leg Leg, w *wire) {
	w.again, p.slow = false, false
	p.speak(leg, func(to []Action) []Action {
		n, actions := p.conv.Feed(leg, w.unread(), to)
		w.consume(n)
		return actions
	})
}

// decided tells the conversation the answer to its Ask.
func (p *Pump) decided() {
	p.answered = false
	p.speak(ClientLeg, func(to []Action) []Action { return p.conv.Decided(p.answer.decision, p.answer.err, to) })
}

// change tells the conversation, on behalf of the leg by, what became of a leg.
func (p *Pump) change(by, leg Leg, change Change) {
	p.speak(by, func(to []Action) []Action { return p.conv.Changed(leg, change, to) })
}

// keep sees to what is still to be written, because its memory is about to be
// used again. When it is little it waits on: the next action may be a write to
// the same leg.
func (p *Pump) keep() {
	for _, w := range p.wires {
		if w == nil {
			continue
		}
		if w.pending() > maxHeld {
			p.flush()
		}
		w.hold()
	}
}

// speak calls the conversation on behalf of a leg and does what comes of it.
func (p *Pump) speak(by Leg, call func(to []Action) []Action) {
	p.keep()
	if p.ended {
		return // by a write that failed
	}
	if err := p.perform(by, call(p.actions[:0])); err != nil {
		p.finish(err)
	}
}

// perform does the actions of one call.
func (p *Pump) perform(by Leg, actions []Action) (err error) {
	p.actions = actions[:0]
	for i, e := range actions {
		switch e.Kind {
		case Write:
			err = p.write(e, actions[i+1:])
		case Done:
			err = p.done(e.Op)
		case Ask:
			p.wires[ClientLeg].again = true
			p.ask(e.Op)
		case Choose:
			p.wires[ClientLeg].again = true
			p.choose(*e.Start)
		case Dial:
			p.wires[ClientLeg].again = true
			p.dial()
		case StartTLS:
			p.wires[e.Leg].again = true
			err = p.startTLS(e.Leg)
		case Slow:
			p.wires[by].again, p.slow = true, true
		case CloseWrite:
			if w := p.wires[e.Leg]; w != nil {
				w.closing = true
			}
		case Pause:
			if w := p.wires[e.Leg]; w != nil {
				w.paused, w.again = true, true
			}
		case Resume:
			if w := p.wires[e.Leg]; w != nil {
				w.paused = false
			}
		case End:
			p.finish(e.Err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write records bytes and puts them into the leg's batch. When the next action
// ends their operation, both are one record.
func (p *Pump) write(e Action, next []Action) error {
	if e.Op != nil && e.Op.exchange != nil {
		if err := p.record(e, next); err != nil {
			return fmt.Errorf("record a chunk: %w", err)
		}
	}
	if w := p.wires[e.Leg]; w != nil {
		w.batch = append(w.batch, e.Bytes)
	}
	return nil
}

func (p *Pump) record(e Action, next []Action) error {
	at := time.Since(e.Op.began)
	if e.Leg == ServerLeg {
		return e.Op.exchange.Record(Request, at, e.Bytes)
	}
	if len(next) > 0 && next[0].Kind == Done && next[0].Op == e.Op {
		return p.close(e.Op).Finish(at, e.Bytes, e.Op.Outcome)
	}
	return e.Op.exchange.Record(Response, at, e.Bytes)
}

// close takes an operation's exchange, which is about to end; nil when it has
// ended.
func (p *Pump) close(op *Pending) Exchange {
	delete(p.open, op)
	exchange := op.exchange
	op.exchange = nil
	return exchange
}

// done ends an operation's exchange, unless its last chunk did.
func (p *Pump) done(op *Pending) error {
	exchange := p.close(op)
	if exchange == nil {
		return nil
	}
	if err := exchange.Done(op.Outcome); err != nil {
		return fmt.Errorf("record an outcome: %w", err)
	}
	return nil
}

// flush sends to both legs what they take.
func (p *Pump) flush() {
	rest := 0
	for leg, w := range p.wires {
		if w == nil {
			continue
		}
		// A server that is gone may have said why: its leg is read on. A client
		// that is gone has nothing to say.
		if w.flush() != nil && Leg(leg) == ClientLeg {
			p.finish(nil)
		}
		rest += w.queued()
	}
	if p.ended && rest == 0 && !p.drained {
		p.drained = true
		close(p.empty)
	}
}
