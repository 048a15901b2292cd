package mysqltext_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
)

// client speaks just enough of the protocol to ask a server of the test's own
// as root, who has no password there. Several statements may stand in a text.
type client struct {
	conn net.Conn
	seq  byte
}

// result is the server's answer to one statement.
type result struct {
	code    int // of an error; 0: none
	message string
	columns []column
	rows    [][]string
	rest    bool // another result follows
}

type column struct{ schema, table, originalTable, name, original string }

const (
	longPassword, protocol41, secureConnection, multiStatements, multiResults = 1, 1 << 9, 1 << 15, 1 << 16, 1 << 17
)

func dial(t *testing.T, socket string) *client {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := &client{conn: conn}
	if _, err := c.read(); err != nil {
		t.Fatal(err)
	}
	hello := binary.LittleEndian.AppendUint32(nil, longPassword|protocol41|secureConnection|multiStatements|multiResults)
	hello = binary.LittleEndian.AppendUint32(hello, 1<<24-1)
	hello = append(hello, 45) // utf8mb4_general_ci
	hello = append(hello, make([]byte, 23)...)
	hello = append(hello, "root\x00\x00"...)
	c.write(t, hello)
	if answer, err := c.read(); err != nil || answer[0] != 0 {
		t.Fatalf("log in: %q, %v", answer, err)
	}
	return c
}

func (c *client) write(t *testing.T, payload []byte) {
	t.Helper()
	head := []byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), c.seq}
	if _, err := c.conn.Write(append(head, payload...)); err != nil {
		t.Fatal(err)
	}
	c.seq++
}

func (c *client) read() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c.conn, head[:]); err != nil {
		return nil, err
	}
	payload := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	c.seq = head[3] + 1
	_, err := io.ReadFull(c.conn, payload)
	return payload, err
}

// query runs a text and returns the result of each statement.
func (c *client) query(t *testing.T, text string) []result {
	t.Helper()
	c.seq = 0
	c.write(t, append([]byte{3}, text...))
	var results []result
	for {
		r := c.result(t)
		results = append(results, r)
		if !r.rest {
			return results
		}
	}
}

func (c *client) must(t *testing.T, text string) []result {
	t.Helper()
	results := c.query(t, text)
	for _, r := range results {
		if r.code != 0 {
			t.Fatalf("%s: %s", text, r.message)
		}
	}
	return results
}

func (c *client) packet(t *testing.T) []byte {
	t.Helper()
	p, err := c.read()
	if err != nil || len(p) == 0 {
		t.Fatalf("the server is lost: %v", err)
	}
	return p
}

func (c *client) result(t *testing.T) (r result) {
	t.Helper()
	p := c.packet(t)
	switch p[0] {
	case 0xff:
		return result{code: int(binary.LittleEndian.Uint16(p[1:])), message: string(p[9:])}
	case 0:
		rest := p[1:]
		_, rest = number(rest)
		_, rest = number(rest)
		return result{rest: binary.LittleEndian.Uint16(rest)&8 != 0}
	}
	n, _ := number(p)
	for range n {
		r.columns = append(r.columns, readColumn(c.packet(t)))
	}
	c.packet(t)
	for {
		p = c.packet(t)
		switch {
		case p[0] == 0xff:
			r.code, r.message = int(binary.LittleEndian.Uint16(p[1:])), string(p[9:])
			return r
		case p[0] == 0xfe && len(p) < 9:
			r.rest = binary.LittleEndian.Uint16(p[3:])&8 != 0
			return r
		}
		var row []string
		for range n {
			if p[0] == 0xfb {
				row, p = append(row, "NULL"), p[1:]
				continue
			}
			var value string
			value, p = text(p)
			row = append(row, fmt.Sprintf("%q", value))
		}
		r.rows = append(r.rows, row)
	}
}

func readColumn(p []byte) column {
	var parts [6]string
	for i := range parts {
		parts[i], p = text(p)
	}
	return column{schema: parts[1], table: parts[2], originalTable: parts[3], name: parts[4], original: parts[5]}
}

func number(p []byte) (int, []byte) {
	switch p[0] {
	case 0xfc:
		return int(binary.LittleEndian.Uint16(p[1:])), p[3:]
	case 0xfd:
		return int(p[1]) | int(p[2])<<8 | int(p[3])<<16, p[4:]
	case 0xfe:
		return int(binary.LittleEndian.Uint64(p[1:])), p[9:]
	}
	return int(p[0]), p[1:]
}

func text(p []byte) (string, []byte) {
	n, p := number(p)
	return string(p[:n]), p[n:]
}
