package mysql_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// raw is a client that sends what it is told.
type raw struct {
	net.Conn
	in     *bufio.Reader
	thread uint32
}

// capabilities of a raw client: protocol 4.1, a database, a secure answer,
// several statements and results, plug-ins.
const rawCan = 1<<9 | 1<<3 | 1<<15 | 1<<16 | 1<<17 | 1<<18 | 1<<19

// raw logs in without a driver.
func (p *proxy) raw(t testing.TB) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", p.port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	c := &raw{Conn: conn, in: bufio.NewReader(conn)}
	greeting := c.packet(t)
	for i, b := range greeting[1:] {
		if b == 0 {
			c.thread = binary.LittleEndian.Uint32(greeting[i+2:])
			break
		}
	}
	answer := binary.LittleEndian.AppendUint32(nil, rawCan)
	answer = append(binary.LittleEndian.AppendUint32(answer, 1<<24), 45)
	answer = append(append(answer, make([]byte, 23)...), "job\x00\x00shop\x00mysql_native_password\x00"...)
	c.send(t, 1, answer)
	if ok := c.packet(t); ok[0] != 0 {
		t.Fatalf("the login is answered %q", ok)
	}
	return c
}

func (c *raw) send(t testing.TB, sequence byte, payload []byte) {
	t.Helper()
	n := len(payload)
	if _, err := c.Write(append([]byte{byte(n), byte(n >> 8), byte(n >> 16), sequence}, payload...)); err != nil {
		t.Fatal(err)
	}
}

// packet returns the payload of the next packet.
func (c *raw) packet(t testing.TB) []byte {
	t.Helper()
	var head [4]byte
	if _, err := io.ReadFull(c.in, head[:]); err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	if _, err := io.ReadFull(c.in, payload); err != nil {
		t.Fatal(err)
	}
	return payload
}

// command sends a command and returns the first packet of its answer.
func (c *raw) command(t testing.TB, payload []byte) []byte {
	t.Helper()
	c.send(t, 0, payload)
	return c.packet(t)
}

// drain reads the rest of the answer to a COM_STMT_PREPARE of one parameter and
// one column.
func (c *raw) drain(t testing.TB) {
	t.Helper()
	for range 4 {
		c.packet(t)
	}
}
