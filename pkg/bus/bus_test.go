package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
)

const cluster = "C1"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestBatchArrivesAsItWasPublished(t *testing.T) {
	l := newLab(t, "a")
	in := consume(t, l.connectCollector(t))
	a := l.connectAgent(t, "a")
	for i := range 200 {
		must(t, a.PublishBatch(t.Context(), fmt.Appendf(nil, "note %d", i), fmt.Appendf(nil, "payload %d", i)))
	}
	for i, b := range in.wait(t, 200) {
		if b.Agent != "a" || string(b.Note) != fmt.Sprintf("note %d", i) || string(b.Payload) != fmt.Sprintf("payload %d", i) || b.Sequence == 0 {
			t.Fatalf("batch %d is %+v", i, b)
		}
	}
	must(t, a.PublishBatch(t.Context(), []byte("heartbeat"), nil))
	if b := in.wait(t, 201)[200]; len(b.Payload) != 0 {
		t.Errorf("got payload %q", b.Payload)
	}
}

func TestHandlerErrorBringsTheBatchAgain(t *testing.T) {
	l := newLab(t, "a")
	c := l.connectCollector(t)
	ctx, cancel := context.WithCancel(t.Context())
	calls := make(chan string, 16)
	first := true
	done := make(chan error, 1)
	go func() {
		done <- c.Batches(ctx, func(_ context.Context, group []bus.BatchMessage) error {
			for _, b := range group {
				calls <- string(b.Note)
			}
			if first {
				first = false
				return errors.New("the disk is away")
			}
			return nil
		})
	}()
	must(t, l.connectAgent(t, "a").PublishBatch(t.Context(), []byte("n"), []byte("p")))
	for range 2 {
		select {
		case note := <-calls:
			if note != "n" {
				t.Errorf("got %q", note)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the batch did not come again")
		}
	}
	cancel()
	must(t, <-done)
}

// raw connects with an agent's own credential, as an attacker who has it.
func (l *lab) raw(t *testing.T, name string) (*nats.Conn, chan error) {
	t.Helper()
	refused := make(chan error, 16)
	option, err := bus.RawOption(l.agents[name])
	must(t, err)
	nc, err := nats.Connect(l.server.ClientURL(), option, nats.CustomInboxPrefix("_INBOX_"+name),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
	must(t, err)
	t.Cleanup(nc.Close)
	return nc, refused
}

func TestAgentCanDoNothingElse(t *testing.T) {
	l := newLab(t, "a", "b")
	l.connectCollector(t)
	nc, refused := l.raw(t, "a")
	for _, subject := range []string{
		"audit.v1.C1.b", "audit.v1.C2.a", "apr.v1.req.C1.b.x", "apr.v1.dec.C1.a.x", "rcpt.v1.C1.a", "sync.v1.C1.b",
		"$JS.API.STREAM.DELETE.AUDIT", "$JS.API.STREAM.PURGE.AUDIT", "$JS.API.STREAM.INFO.AUDIT", "$JS.API.CONSUMER.CREATE.AUDIT.x", "$JS.ACK.AUDIT.collector.1.1.1.1.1",
		"_INBOX_b.x", "$SYS.REQ.SERVER.PING",
	} {
		must(t, nc.PublishRequest(subject, "_INBOX_a.x", []byte("x")))
		must(t, nc.Flush())
		wantRefusal(t, refused, subject)
	}
	for _, subject := range []string{"rcpt.v1.C1.b", "rcpt.v1.C1.*", "apr.v1.dec.C1.b.*", "_INBOX_b.>", "_INBOX.>", "audit.v1.C1.a", "apr.v1.req.>", ">", "$JS.API.>"} {
		_, err := nc.SubscribeSync(subject)
		must(t, err)
		must(t, nc.Flush())
		wantRefusal(t, refused, subject)
	}
	if err := l.connectAgent(t, "a").PublishBatch(t.Context(), []byte("n"), nil); err != nil {
		t.Errorf("its own subject: %v", err)
	}
}

func wantRefusal(t *testing.T, refused chan error, subject string) {
	t.Helper()
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), subject) {
			t.Errorf("%s: got %v", subject, err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%s is allowed", subject)
	}
}

func TestRefusalIsAnErrorAndNotATimeout(t *testing.T) {
	l := newLab(t, "a", "b")
	l.connectCollector(t)
	l.agents["b"] = l.agents["a"] // a credential that was issued wrongly
	b := l.connectAgent(t, "b")
	begun := time.Now()
	err := b.PublishBatch(t.Context(), []byte("n"), nil)
	if !errors.Is(err, bus.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

// JetStream de-duplicates by id alone: the stream drops a message whose id it has seen, whoever sent
// it. An agent that could guess a neighbour's id could delete its records.
func TestNeighbourCannotPoisonTheDuplicateFilter(t *testing.T) {
	l := newLab(t, "a", "evil")
	in := consume(t, l.connectCollector(t))
	evil, _ := l.raw(t, "evil")
	for _, id := range []string{"1", "a-1", "a.1", "note", "bm90ZQ"} { // whatever can be known beforehand
		msg := nats.NewMsg("audit.v1.C1.evil")
		msg.Header.Set(nats.MsgIdHdr, id)
		must(t, evil.PublishMsg(msg))
	}
	must(t, evil.Flush())
	must(t, l.connectAgent(t, "a").PublishBatch(t.Context(), []byte("note"), []byte("payload")))
	for _, b := range in.wait(t, 6) {
		if b.Agent == "a" && string(b.Note) == "note" {
			return
		}
		if b.Agent == "evil" && (b.Note != nil || b.Payload != nil) {
			t.Errorf("an empty message was cut into %+v", b)
		}
	}
	t.Error("the neighbour's batch is gone")
}

func TestFullStreamRefusesAndKeepsWhatItHas(t *testing.T) {
	l := newLab(t, "a")
	c := l.connectCollector(t)
	a := l.connectAgent(t, "a")
	var err error
	accepted := 0
	for ; err == nil && accepted < 100; accepted++ {
		err = a.PublishBatch(t.Context(), fmt.Appendf(nil, "note %d", accepted), make([]byte, 400<<10))
	}
	if err == nil || !strings.Contains(err.Error(), "refuses") {
		t.Fatalf("after %d batches got %v", accepted, err)
	}
	got := consume(t, c).wait(t, accepted-1)
	if string(got[0].Note) != "note 0" {
		t.Errorf("the oldest is %q", got[0].Note)
	}
	if err := a.PublishBatch(t.Context(), []byte("n"), make([]byte, 600<<10)); err == nil {
		t.Error("a message over the limit was published")
	}
}

func TestReceiptsApprovalsAndSync(t *testing.T) {
	l := newLab(t, "a", "b")
	c := l.connectCollector(t)
	a, b := l.connectAgent(t, "a"), l.connectAgent(t, "b")
	receipts, decisions := make(chan string, 4), make(chan string, 4)
	must(t, a.OnReceipt(func(r []byte) { receipts <- string(r) }))
	must(t, b.OnReceipt(func(r []byte) { t.Errorf("b heard %q", r) }))
	must(t, a.OnApproval(func(id string, m []byte) { decisions <- id + " " + string(m) }))
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 2)
	go func() {
		served <- c.ServeSync(ctx, func(_ context.Context, agent string, request []byte, _ uint64) (bus.SyncReply, error) {
			return bus.SyncReply{
				Receipt:   fmt.Appendf(nil, `{"for":%q,"asked":%s}`, agent, request),
				Approvals: []bus.Decision{{ID: "x1", Message: []byte(`{"number":7}`)}},
			}, nil
		})
	}()
	requests := make(chan bus.RequestMessage, 4)
	go func() {
		served <- c.ApprovalRequests(ctx, func(_ context.Context, r bus.RequestMessage) error { requests <- r; return nil })
	}()
	var reply bus.SyncReply
	retry(t, "sync is served", func() (err error) { reply, err = a.Sync(t.Context(), []byte(`{"seen":0}`)); return err })
	if string(reply.Receipt) != `{"for":"a","asked":{"seen":0}}` || len(reply.Approvals) != 1 || string(reply.Approvals[0].Message) != `{"number":7}` {
		t.Errorf("got %s, %+v", reply.Receipt, reply.Approvals)
	}
	must(t, c.SendReceipt("a", []byte("r1")))
	must(t, c.SendApproval("a", "id1", []byte("yes")))
	if got := receive(t, receipts); got != "r1" {
		t.Errorf("got receipt %q", got)
	}
	if got := receive(t, decisions); got != "id1 yes" {
		t.Errorf("got decision %q", got)
	}
	must(t, a.PublishApprovalRequest(t.Context(), "id1", []byte("signed")))
	if got := receive(t, requests); got.Agent != "a" || got.ID != "id1" || string(got.Signed) != "signed" {
		t.Errorf("got request %+v", got)
	}
	for _, id := range []string{"", "x.y", "*", ">", "a b", strings.Repeat("x", 65)} {
		if a.PublishApprovalRequest(t.Context(), id, nil) == nil || c.SendApproval("a", id, nil) == nil {
			t.Errorf("approval id %q was taken", id)
		}
	}
	cancel()
	must(t, errors.Join(<-served, <-served))
}

func receive[T any](t *testing.T, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// retry tries until there is no error.
func retry(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.After(40 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s: %v", what, err)
		}
	}
}

func TestServerAwayIsAnErrorAndComesBackWiped(t *testing.T) {
	l := newLab(t, "a")
	in := consume(t, l.connectCollector(t))
	a := l.connectAgent(t, "a")
	must(t, a.PublishBatch(t.Context(), []byte("before"), nil))
	in.wait(t, 1)
	l.stop()
	if err := a.PublishBatch(t.Context(), []byte("away"), nil); err == nil {
		t.Error("published to a server that is away")
	}
	if a.Status() == nil {
		t.Error("the bus is called healthy")
	}
	l.dir = t.TempDir() // wiped
	l.start(t)
	retry(t, "publishing works again", func() error { return a.PublishBatch(t.Context(), []byte("after"), nil) })
	got := in.wait(t, 2)
	if string(got[len(got)-1].Note) != "after" {
		t.Errorf("got %q", got[len(got)-1].Note)
	}
}

func TestNamesThatWouldWidenASubjectAreRefused(t *testing.T) {
	for _, name := range []string{"", "*", ">", "a.b", "a b", "ä", strings.Repeat("a", 65)} {
		if _, err := bus.AgentPermissions(cluster, name); err == nil {
			t.Errorf("agent %q was taken", name)
		}
		if _, err := bus.AgentPermissions(name, "a"); err == nil {
			t.Errorf("cluster %q was taken", name)
		}
	}
}

func TestStreamOfAnotherClusterIsLeftAlone(t *testing.T) {
	l := newLab(t, "a")
	in := consume(t, l.connectCollector(t))
	cfg := bus.CollectorConfig{
		URL: l.server.ClientURL(), Cluster: "other", Security: bus.Security{Seed: l.collector}, StreamBytes: 8 << 20, Log: zap.NewNop(),
	}
	if c, err := bus.ConnectCollector(t.Context(), cfg); err == nil {
		c.Close()
		t.Error("it was taken over")
	}
	must(t, l.connectAgent(t, "a").PublishBatch(t.Context(), []byte("note"), nil))
	in.wait(t, 1)
}

func TestStreamThatSomebodyChangedIsSetRight(t *testing.T) {
	l := newLab(t, "a")
	l.connectCollector(t).Close()
	option, err := bus.RawOption(l.collector)
	must(t, err)
	conn, err := nats.Connect(l.server.ClientURL(), option)
	must(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	must(t, err)
	stream, err := js.Stream(t.Context(), "AUDIT")
	must(t, err)
	changed := stream.CachedInfo().Config
	changed.Discard, changed.MaxMsgs, changed.MaxAge = jetstream.DiscardOld, 1, time.Hour
	_, err = js.UpdateStream(t.Context(), changed)
	must(t, err)
	l.connectCollector(t)
	info, err := stream.Info(t.Context())
	must(t, err)
	if have := info.Config; have.Discard != jetstream.DiscardNew || have.MaxMsgs > 0 || have.MaxAge != 0 {
		t.Errorf("it is %+v", have)
	}
}
