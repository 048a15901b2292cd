package forward

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/sluicegate/sluice/pkg/siem"
)

// Syslog writes events as CEF in syslog messages over one TCP connection, each
// after its length (RFC 5425 §4.3, RFC 6587 §3.4.1).
//
// Syslog acknowledges nothing. What the connection carried when it broke may be
// lost without anybody's knowing; what could not be written is sent again.
type Syslog struct {
	address string
	tls     *tls.Config // nil: not encrypted
	conn    net.Conn    // nil when there is none
	buffer  []byte
	message []byte
}

// NewSyslog returns a receiver that connects when it is first used.
func NewSyslog(address string, tls *tls.Config) *Syslog {
	return &Syslog{address: address, tls: tls}
}

// Close ends the connection.
func (s *Syslog) Close() {
	if s.conn != nil {
		_ = s.conn.Close() // there is nothing left to say
		s.conn = nil
	}
}

// Send writes events. Chunks have no message.
func (s *Syslog) Send(ctx context.Context, events []siem.Event) error {
	s.buffer = s.buffer[:0]
	for i := range events {
		if events[i].Header.Chunk != nil {
			continue
		}
		s.message = events[i].AppendSyslog(s.message[:0])
		s.buffer = append(strconv.AppendInt(s.buffer, int64(len(s.message)), 10), ' ')
		s.buffer = append(s.buffer, s.message...)
	}
	if len(s.buffer) == 0 {
		return nil
	}
	if err := s.write(ctx); err != nil {
		s.Close()
		return err
	}
	return nil
}

// write sends the buffer over a connection that the other end has not closed,
// as far as one can see from here.
func (s *Syslog) write(ctx context.Context) error {
	if s.conn != nil && gone(s.conn) {
		s.Close()
	}
	if s.conn == nil {
		if err := s.dial(ctx); err != nil {
			return err
		}
	}
	deadline, _ := ctx.Deadline()
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := s.conn.Write(s.buffer); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (s *Syslog) dial(ctx context.Context) (err error) {
	dialer := &net.Dialer{Timeout: dialTime}
	if s.tls == nil {
		s.conn, err = dialer.DialContext(ctx, "tcp", s.address)
	} else {
		s.conn, err = (&tls.Dialer{NetDialer: dialer, Config: s.tls}).DialContext(ctx, "tcp", s.address)
	}
	if err != nil {
		s.conn = nil // not an interface that holds a nil pointer
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// gone looks whether the other end closed a connection on which it never
// speaks.
func gone(conn net.Conn) bool {
	if err := conn.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		return true
	}
	n, err := io.ReadFull(conn, make([]byte, 1))
	return n > 0 || !errors.Is(err, os.ErrDeadlineExceeded)
}
