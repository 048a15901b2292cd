package protocoltest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/protocol"
)

func (r *run) expectAsk(rest string) error {
	select {
	case r.asked = <-r.guard.asked:
	case <-time.After(patience):
		return errors.New("nothing was asked")
	}
	var kind, text string
	if _, err := fmt.Sscanf(rest, "%s %q", &kind, &text); err != nil {
		return err
	}
	op := r.asked.Operation
	if string(op.Kind) != kind || string(op.Text.Reveal()) != text {
		return fmt.Errorf("asked about %s %q", op.Kind, op.Text.Reveal())
	}
	return nil
}

func (r *run) wait(rest string) error {
	var number uint64
	var reason string
	if _, err := fmt.Sscanf(rest, "%d %q", &number, &reason); err != nil {
		return err
	}
	r.asked.waiting(protocol.Waiting{Approval: number, Reason: reason})
	return nil
}

func (r *run) decide(rest string) error {
	d := protocol.Decision{Effect: protocol.Allow}
	var limit protocol.RowLimit
	if _, err := fmt.Sscanf(rest, "allow %d rows %q", &limit.Rows, &limit.Rule); err == nil {
		d.Limit = &limit
	} else if rest != "allow" {
		d = protocol.Decision{}
		if _, err := fmt.Sscanf(rest, "deny %q %q", &d.Rule, &d.Reason); err != nil {
			return err
		}
	}
	r.asked.answer <- d
	return nil
}

func (r *run) expectDone(rest string) error {
	var outcome protocol.Outcome
	select {
	case outcome = <-r.guard.done:
	case <-time.After(patience):
		return errors.New("nothing ended")
	}
	got := string(outcome.Status)
	if outcome.Code != "" {
		got += " code " + strconv.Quote(outcome.Code)
	}
	if outcome.Rows > 0 {
		got += fmt.Sprintf(" rows %d", outcome.Rows)
	}
	if got != rest {
		return fmt.Errorf("it ended as %s", got)
	}
	return nil
}

func (r *run) hangUp(verb string) error {
	conn, err := r.leg(verb)
	if err != nil {
		return err
	}
	return conn.(*net.TCPConn).CloseWrite()
}

func (r *run) expectEnd(rest string) error {
	var err error
	select {
	case err = <-r.ended:
	case <-time.After(patience):
		return errors.New("the session goes on")
	}
	r.over = true
	var violation *protocol.Violation
	switch {
	case rest == "violation" && !errors.As(err, &violation):
		return fmt.Errorf("it ended with %w, not a violation", err)
	case rest == "" && err != nil:
		return fmt.Errorf("it ended with %w", err)
	}
	return nil
}

// stop ends the session by its context if the script did not, and checks that
// nothing came which the script did not expect.
func (r *run) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if !r.over {
		select {
		case <-r.ended: //nolint:errcheck // whatever the error, it is over
		case <-time.After(patience):
			t.Fatal("the session outlives its context")
		}
	}
	for name, conn := range map[string]net.Conn{"client": r.client, "server": r.server} {
		if conn == nil {
			continue
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience)) // reading says so if it fails
		rest, err := io.ReadAll(conn)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("the %s leg was not closed", name)
		}
		if len(rest) > 0 {
			t.Errorf("the %s leg got %q, which the script does not expect", name, rest)
		}
		_ = conn.Close()
	}
	if err := r.guard.Err(); err != nil {
		t.Error(err)
	}
}
