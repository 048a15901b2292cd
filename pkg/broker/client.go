package broker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/destination"
	"github.com/sluicegate/sluice/pkg/redirect"
)

const (
	alertBacklog = 256
	beatEvery    = time.Second
	// askWait bounds a question that its caller set no bound for.
	askWait = 10 * time.Second
)

// Client is the proxy's part. Its methods are safe for concurrent use.
type Client struct {
	link    *link
	records *redirect.Records // nil where there are none
	booted  time.Time
	stop    context.CancelFunc
	serve   atomic.Pointer[func(*Accepted)] // nil before Ready
	alerts  chan redirect.Alert
	lost    atomic.Uint64 // alerts that found their channel full, and connections that could not be taken
	gone    chan struct{} // closed when the privileged half is
	work    sync.WaitGroup
	numbers atomic.Uint32

	table atomic.Pointer[destination.Table]
	told  chan struct{} // closed when table is set

	listeners listeners
	v4, v6    *sockets
	filling   sync.WaitGroup

	begun   chan Inheritance // of one: how to begin
	changes chan Change
	retired chan struct{} // closed when no connection comes any more

	mu    sync.Mutex
	asked map[uint32]chan answer // by number; guarded by mu
}

// answer is what came to a question. Whoever takes it closes the descriptors.
type answer struct {
	status status
	body   []byte
	fds    []int
}

// Attach takes a proxy's end of the socket, which is at Descriptor in a process
// that a Broker started, and what it reads records of.
// stop is called when the privileged half wants this process to end, and when it
// is gone.
func Attach(socket *os.File, records redirect.RecordFiles, stop context.CancelFunc) (*Client, error) {
	booted, err := attribution.BootTime()
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	l, err := attach(socket)
	if err != nil {
		return nil, err
	}
	l.takeFiles(socketsAtOnce)
	c := &Client{
		link: l, records: redirect.NewRecords(records, booted), booted: booted, v4: newSockets(4), v6: newSockets(6), stop: stop, gone: make(chan struct{}), told: make(chan struct{}),
		begun: make(chan Inheritance, 1), changes: make(chan Change, 1), retired: make(chan struct{}), asked: make(map[uint32]chan answer),
		alerts: make(chan redirect.Alert, alertBacklog),
	}
	c.listeners = listeners{take: c.check, fail: c.cannotAccept, cookies: make(map[*net.TCPListener]uint64)}
	if err := l.send(kindHello, 0, pack(nil, uint16(version))); err != nil {
		return nil, errors.Join(err, l.close())
	}
	c.work.Go(c.listen)
	c.work.Go(c.beat)
	return c, nil
}

// Close ends everything that waits.
func (c *Client) Close() error {
	err := c.link.close()
	c.work.Wait()
	c.listeners.close()
	c.filling.Wait()
	c.v4.close()
	c.v6.close()
	return errors.Join(err, c.records.Close())
}

// Run returns when ctx ends, with ErrRetired, or with an error when the
// privileged half is gone.
func (c *Client) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-c.retired:
		return ErrRetired
	case <-c.gone:
		return fmt.Errorf("the privileged half is gone: %w", net.ErrClosed)
	}
}

// beat tells the privileged half that this one lives.
func (c *Client) beat() {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		select {
		case <-c.gone:
			return
		case <-tick.C:
			_ = c.link.send(kindBeat, 0, nil) // listen says when it cannot arrive
		}
	}
}

// listen takes what the privileged half says until one of the two is gone.
func (c *Client) listen() {
	defer c.stop()
	defer close(c.gone)
	for {
		said, err := c.link.receive()
		if err != nil {
			return
		}
		switch said.kind {
		case kindAccepted:
			if err := c.hearAccepted(said); err != nil {
				return
			}
		case kindListener:
			if err := c.hearListener(said); err != nil {
				return
			}
		case kindTable:
			if err := c.hearTable(said); err != nil {
				return // it would serve connections as another's
			}
		case kindAlert:
			c.hearAlert(said)
		case kindAnswer:
			c.hearAnswer(said)
		case kindStop:
			c.listeners.close() // what comes from now on waits for another process
			c.stop()
		default:
			if err := c.hearChange(said); err != nil {
				return
			}
		}
	}
}

// hearTable takes a new table over. Connections that come after it are served
// by it.
func (c *Client) hearTable(said packet) error {
	if len(said.fds) != 1 || len(said.body) > 0 {
		closeAll(said.fds)
		return errMalformed
	}
	file := os.NewFile(uintptr(said.fds[0]), "table")
	defer file.Close() //nolint:errcheck // only read
	table := destination.Table{}
	if err := json.NewDecoder(file).Decode(&table); err != nil {
		return err
	}
	if c.table.Swap(&table) == nil {
		close(c.told)
	}
	return c.link.send(kindTold, said.number, nil)
}

func (c *Client) hearAlert(said packet) {
	closeAll(said.fds)
	var fixed alerted
	text, err := unpack(said.body, &fixed)
	if err != nil {
		c.lost.Add(1)
		return
	}
	kind, detail, _ := bytes.Cut(text, []byte("\n"))
	c.raise(fixed.alert(string(kind), string(detail)))
}

func (c *Client) raise(a redirect.Alert) {
	select {
	case c.alerts <- a:
	default:
		c.lost.Add(1)
	}
}

func (c *Client) cannotAccept(cookie uint64, err error) {
	c.raise(redirect.Alert{Kind: redirect.AlertNoListener, NetnsCookie: cookie, Count: 1, Detail: err.Error()})
}

// hearAnswer gives an answer to whoever waits for it.
func (c *Client) hearAnswer(said packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	waiting := c.asked[said.number]
	delete(c.asked, said.number)
	if waiting == nil || len(said.body) == 0 {
		closeAll(said.fds)
		return
	}
	waiting <- answer{status: status(said.body[0]), body: bytes.Clone(said.body[1:]), fds: said.fds} // has room for it
}

// ask asks a question and waits for an answer with that many descriptors.
func (c *Client) ask(ctx context.Context, kind kind, body []byte, fds int) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	number, came := c.expect()
	defer c.forget(number, came)
	if err := c.link.send(kind, number, body); err != nil {
		return answer{}, err
	}
	select {
	case a := <-came:
		return a.check(fds)
	case <-ctx.Done():
		return answer{}, context.Cause(ctx)
	case <-c.gone:
		return answer{}, net.ErrClosed
	}
}

func (c *Client) expect() (number uint32, came chan answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for number == 0 || c.asked[number] != nil {
		number = c.numbers.Add(1)
	}
	came = make(chan answer, 1)
	c.asked[number] = came
	return number, came
}

// forget gives a question up, and closes what came too late for it.
func (c *Client) forget(number uint32, came chan answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked[number] == came {
		delete(c.asked, number)
	}
	select {
	case late := <-came:
		closeAll(late.fds)
	default:
	}
}

// check turns a refusal into an error.
func (a answer) check(fds int) (answer, error) {
	switch {
	case a.status == statusNotExist:
		closeAll(a.fds)
		return answer{}, absent(a.body)
	case a.status != statusOK:
		closeAll(a.fds)
		return answer{}, errors.New(string(a.body))
	case len(a.fds) != fds:
		closeAll(a.fds)
		return answer{}, errMalformed
	}
	return a, nil
}

// absent is an error text about something that is not there.
type absent string

// Error returns the text.
func (a absent) Error() string { return string(a) }

// Is makes it fs.ErrNotExist.
func (absent) Is(target error) bool { return target == fs.ErrNotExist }
