package agent_test

import (
	"crypto/ed25519"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

const (
	busy  = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	quiet = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

// office is an agent's orders, and ada, who gives them.
type office struct {
	t        *testing.T
	file     string
	ada      ed25519.PrivateKey
	console  ed25519.PrivateKey
	roster   *approval.Roster
	orders   *agent.Orders
	recorded []record.Order
}

func newOffice(t *testing.T) *office {
	t.Helper()
	newKey := func() (ed25519.PrivateKey, string) {
		public, private, err := ed25519.GenerateKey(nil)
		must(t, err)
		line, err := approval.FormatPublicKey(public)
		must(t, err)
		return private, line
	}
	o := &office{t: t, file: filepath.Join(t.TempDir(), "orders")}
	var line, console string
	o.ada, line = newKey()
	o.console, console = newKey()
	o.roster = &approval.Roster{Version: 1, NotAfter: time.Now().Add(time.Hour), Console: console, ConsoleOrders: true, Approvers: []approval.Approver{{
		Name: "ada", Groups: []string{"dba"}, Keys: []string{line}, Accounts: []approval.Account{{Issuer: "https://login.example", Subject: "ada"}},
	}}}
	o.open()
	return o
}

// open starts the agent's half again.
func (o *office) open() {
	o.t.Helper()
	var err error
	o.orders, err = agent.OpenOrders(o.file, func() *approval.Roster { return o.roster }, func(r record.Order, _ []byte) error {
		o.recorded = append(o.recorded, r)
		return nil
	}, zap.NewNop())
	must(o.t, err)
}

func (o *office) give(change func(*approval.Order)) string {
	o.t.Helper()
	order := approval.Order{ID: approval.NewID(), By: "ada", At: time.Now(), Expires: time.Now().Add(time.Minute)}
	change(&order)
	key := o.ada
	if order.ByConsole() {
		key = o.console
	}
	signed, err := approval.SignOrder(order, key)
	must(o.t, err)
	o.orders.Deliver(signed)
	o.orders.Deliver(signed) // twice is once
	return order.ID
}

func (o *office) quarantine(container string) string {
	return o.give(func(order *approval.Order) { order.Kind, order.Container = approval.Quarantine, container })
}

// watch opens a session of a container; ended counts how often it was ended.
func (o *office) watch(id, container string) (stopped func() *approval.Order, ended *int, release func()) {
	ended = new(int)
	s := &session.Session{ID: id, Workload: workload.Workload{Kernel: workload.KernelFacts{Container: container}}}
	stopped, release = o.orders.Watch(s, func() { *ended++ })
	return stopped, ended, release
}

func TestQuarantineEndsAContainersSessionsAndNobodyElses(t *testing.T) {
	o := newOffice(t)
	stopped, ended, _ := o.watch("s1", busy)
	other, otherEnded, _ := o.watch("s2", quiet)
	o.quarantine(busy[:12])
	if stopped() == nil || *ended != 1 {
		t.Errorf("the session goes on: ended %d times", *ended)
	}
	if other() != nil || *otherEnded != 0 {
		t.Error("another container's session was stopped")
	}
	if later, _, _ := o.watch("s3", busy); later() == nil {
		t.Error("a new session was not stopped")
	}
	if len(o.recorded) != 1 || o.recorded[0].By != "ada" {
		t.Errorf("recorded %+v", o.recorded)
	}
}

func TestQuarantineOutlivesTheAgentAndEndsWhenItIsLifted(t *testing.T) {
	o := newOffice(t)
	id := o.quarantine(busy)
	o.open()
	if stopped, _, _ := o.watch("s1", busy); stopped() == nil {
		t.Error("a restart of the agent lifted it")
	}
	o.give(func(order *approval.Order) { order.Kind, order.Lifts = approval.Release, id })
	if stopped, _, _ := o.watch("s2", busy); stopped() != nil {
		t.Error("it was not lifted")
	}
	o.open()
	if stopped, _, _ := o.watch("s3", busy); stopped() != nil {
		t.Error("a restart of the agent put it back")
	}
}

func TestQuarantineThatComesAfterItsReleaseHasNoEffect(t *testing.T) {
	o := newOffice(t)
	id := approval.NewID()
	o.give(func(order *approval.Order) { order.Kind, order.Lifts = approval.Release, id })
	stopped, ended, _ := o.watch("s1", busy)
	o.give(func(order *approval.Order) { order.ID, order.Kind, order.Container = id, approval.Quarantine, busy })
	if stopped() != nil || *ended != 0 {
		t.Error("the session was stopped")
	}
}

// byConsole makes an order the console's, for ada.
func byConsole(order *approval.Order) {
	order.Login = &approval.Login{Account: approval.Account{Issuer: "https://login.example", Subject: "ada"}, At: order.At}
}

func TestConsoleLiftsWhatItOrderedAndNothingElse(t *testing.T) {
	o := newOffice(t)
	lift := func(id string) {
		o.give(func(order *approval.Order) {
			byConsole(order)
			order.Kind, order.Lifts = approval.Release, id
		})
	}
	stopped := func() bool {
		stopped, _, release := o.watch("s", busy)
		release()
		return stopped() != nil
	}
	inConsole := func() string {
		return o.give(func(order *approval.Order) {
			byConsole(order)
			order.Kind, order.Container = approval.Quarantine, busy
		})
	}
	console, own := inConsole(), o.quarantine(busy)
	lift(console)
	lift(own)
	if !stopped() {
		t.Error("the console lifted what a person ordered with their own key")
	}
	o.open()
	if !stopped() {
		t.Error("it did at the next start")
	}
	o.give(func(order *approval.Order) { order.Kind, order.Lifts = approval.Release, own })
	if stopped() {
		t.Error("the console's own quarantine was not lifted")
	}
	early := approval.NewID()
	lift(early)
	o.give(func(order *approval.Order) { order.ID, order.Kind, order.Container = early, approval.Quarantine, busy })
	if !stopped() {
		t.Error("a release that came before a person's quarantine lifted it")
	}
	if o.orders.Lifted(early) {
		t.Error("the console takes back a pre-approval")
	}
}

func TestWhoeverFloodsKeepsNobodyElsesOrderFromBeingObeyed(t *testing.T) {
	o := newOffice(t)
	bob := o.roster.Approvers[0]
	bob.Name, bob.Accounts = "bob", []approval.Account{{Issuer: "https://login.example", Subject: "bob"}}
	o.roster.Approvers = append(o.roster.Approvers, bob)
	for i := range 1030 {
		o.give(func(order *approval.Order) { order.Kind, order.Session = approval.Kill, fmt.Sprint(i) })
	}
	o.quarantine(busy)
	if stopped, _, _ := o.watch("s1", busy); stopped() != nil {
		t.Error("one person's orders have no bound")
	}
	o.give(func(order *approval.Order) { order.By, order.Kind, order.Container = "bob", approval.Quarantine, busy })
	if stopped, _, _ := o.watch("s2", busy); stopped() == nil {
		t.Error("the other's order is not obeyed")
	}
}

func TestKillEndsOneSession(t *testing.T) {
	o := newOffice(t)
	stopped, ended, _ := o.watch("s1", busy)
	other, _, _ := o.watch("s2", busy)
	gone, goneEnded, release := o.watch("s3", busy)
	release()
	for _, id := range []string{"s1", "s3", "s4"} {
		o.give(func(order *approval.Order) { order.Kind, order.Session = approval.Kill, id })
	}
	if stopped() == nil || *ended != 1 || other() != nil {
		t.Error("it did not end this session alone")
	}
	if gone() != nil || *goneEnded != 0 {
		t.Error("a session that is over was ended")
	}
	if len(o.recorded) != 1 {
		t.Errorf("recorded %+v: only what was obeyed here is to be", o.recorded)
	}
}

func TestOrderOfAStrangerIsNotObeyed(t *testing.T) {
	o := newOffice(t)
	_, stranger, err := ed25519.GenerateKey(nil)
	must(t, err)
	o.ada = stranger
	o.quarantine(busy)
	if stopped, _, _ := o.watch("s1", busy); stopped() != nil || len(o.recorded) != 0 {
		t.Error("it was obeyed")
	}
	o.roster = nil
	o.quarantine(busy)
	if stopped, _, _ := o.watch("s2", busy); stopped() != nil {
		t.Error("without a roster it was obeyed")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
