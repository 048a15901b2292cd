package protocol_test

import (
	"context"
	"io"
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
)

func TestClientOfAStoppedSessionIsTold(t *testing.T) {
	for _, waits := range []bool{false, true} {
		asked := make(chan struct{}) // what is not read yet would reset the client's connection
		b := &book{decide: func(ctx context.Context, _ func(protocol.Waiting)) (protocol.Decision, error) {
			close(asked)
			if waits {
				<-ctx.Done()
			}
			return protocol.Decision{Effect: protocol.Allow}, nil
		}}
		s := sit(t, b)
		s.say(t, "a line\n")
		<-asked
		if !waits {
			if got := make([]byte, len("a line\n")); readFull(s.server, got) != nil {
				t.Fatal("the line did not reach the server")
			}
		}
		s.stop()
		if err := s.wait(t); err != nil {
			t.Errorf("it ended with %v", err)
		}
		told, err := io.ReadAll(s.client)
		if string(told) != "stopped\n" || err != nil {
			t.Errorf("a client that waits %v was told %q, %v", waits, told, err)
		}
	}
}

func readFull(from io.Reader, into []byte) error {
	_, err := io.ReadFull(from, into)
	return err
}
