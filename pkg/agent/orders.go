package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// maxStanding bounds the orders that are kept of one person, whose newest
// replace none: whoever floods keeps nobody else's order from being obeyed.
const maxStanding = 1024

// Orders are what people ordered this agent to stop. They outlive the agent in
// a file, so that a restart while the collector is away frees nobody. It is
// safe for concurrent use.
type Orders struct {
	roster func() *approval.Roster // nil while there is none
	record func(o record.Order, signed []byte) error
	file   string
	log    *zap.Logger

	mu       sync.Mutex
	standing map[string]standing // by id; guarded by mu
	open     map[*watched]bool   // guarded by mu
}

// standing is an order in force, with its signed bytes.
type standing struct {
	order  approval.Order
	signed []byte
}

// watched is one open session.
type watched struct {
	session *session.Session
	stopped atomic.Pointer[approval.Order]
	end     func()
}

// OpenOrders reads the orders that file keeps. record is told of each order
// before it is obeyed; an order that cannot be recorded is obeyed all the same.
func OpenOrders(file string, roster func() *approval.Roster, record func(record.Order, []byte) error, log *zap.Logger) (*Orders, error) {
	o := &Orders{roster: roster, record: record, file: file, log: log, standing: map[string]standing{}, open: map[*watched]bool{}}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read orders: %w", err)
	}
	var kept [][]byte
	if err := json.Unmarshal(data, &kept); err != nil {
		return nil, fmt.Errorf("read orders: %s is damaged: remove it to forget all quarantines", file)
	}
	for _, signed := range kept {
		if order, err := approval.OpenOrder(signed, roster(), time.Now()); err == nil {
			o.standing[order.ID] = standing{order, signed}
		}
	}
	return o, nil
}

// Deliver hands in a signed order, and returns when it is obeyed. What is not
// signed by somebody of the roster, or is known, changes nothing.
func (o *Orders) Deliver(signed []byte) {
	order, err := approval.OpenOrder(signed, o.roster(), time.Now())
	if err != nil {
		o.log.Warn("An order is not believed", zap.Error(err))
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(time.Now())
	if _, known := o.standing[order.ID]; known {
		return
	}
	if o.by(order.By) >= maxStanding {
		o.log.Error("There are too many orders of one person: one more is not obeyed", zap.String("order", order.ID), zap.String("by", order.By))
		return
	}
	o.standing[order.ID] = standing{order, bytes.Clone(signed)}
	stopped := o.stop(&order)
	if order.Kind != approval.Kill || stopped > 0 {
		o.log.Warn("An order is obeyed", zap.String("order", order.ID), zap.String("kind", string(order.Kind)), zap.Int("sessions", stopped))
		if err := o.record(recordOf(order), signed); err != nil {
			o.log.Error("An order could not be recorded", zap.String("order", order.ID), zap.Error(err))
		}
	}
	if err := o.keep(); err != nil {
		o.log.Error("The orders could not be kept for the next start", zap.Error(err))
	}
}

// by counts a person's orders. The caller holds mu.
func (o *Orders) by(person string) (n int) {
	for _, s := range o.standing {
		if s.order.By == person {
			n++
		}
	}
	return n
}

// stop marks and ends the open sessions that an order is against. The caller
// holds mu.
func (o *Orders) stop(order *approval.Order) (stopped int) {
	for w := range o.open {
		if order.Stops(w.session.ID, &w.session.Workload) && !o.lifted(order.ID, order.ByConsole()) {
			w.stopped.Store(order)
			w.end()
			stopped++
		}
	}
	return stopped
}

// lifted reports whether something was taken back, also by a release that came
// before it. The caller holds mu.
func (o *Orders) lifted(id string, byConsole bool) bool {
	for _, s := range o.standing {
		if s.order.TakesBack(id, byConsole) {
			return true
		}
	}
	return false
}

// Lifted reports whether somebody took back a pre-approval.
func (o *Orders) Lifted(id string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lifted(id, false)
}

// forget drops what has expired. The caller holds mu.
func (o *Orders) forget(now time.Time) {
	for id, s := range o.standing {
		if !now.Before(s.order.Expires) {
			delete(o.standing, id)
		}
	}
}

// keep writes the standing orders to the file. The caller holds mu.
func (o *Orders) keep() error {
	kept := make([][]byte, 0, len(o.standing))
	for _, s := range o.standing {
		kept = append(kept, s.signed)
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	return replaceFile(o.file, data)
}

// Watch says what was ordered of a session until release is called: stopped is
// nil while nothing is. end is called at most once for each order, and must
// not block.
func (o *Orders) Watch(s *session.Session, end func()) (stopped func() *approval.Order, release func()) {
	w := &watched{session: s, end: end}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(time.Now())
	o.open[w] = true
	for id, standing := range o.standing {
		if order := standing.order; order.Stops(s.ID, &s.Workload) && !o.lifted(id, order.ByConsole()) {
			w.stopped.Store(&order)
			break
		}
	}
	return w.stopped.Load, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.open, w)
	}
}

func recordOf(o approval.Order) record.Order {
	return record.Order{
		ID: o.ID, Kind: string(o.Kind), Session: o.Session, Container: o.Container, Run: o.Run, Lifts: o.Lifts, By: o.By, Reason: o.Reason,
	}
}

// replaceFile writes a file so that a crash leaves the old or the new one.
func replaceFile(path string, data []byte) (err error) {
	next := path + ".new"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
