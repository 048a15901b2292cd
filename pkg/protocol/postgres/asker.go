package postgres

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// asker is a session of the agent's own with a server, for a few small
// questions. It can only read. An error ends it, except a serverError.
type asker struct {
	net.Conn
	in    *bufio.Reader
	login login
	out   []byte
	left  int // bytes that the server may still send
}

// maxAnswers bounds what one asker reads, in bytes.
const maxAnswers = 4 << 20

// serverError is the SQLSTATE of an error that the server reported.
type serverError string

func (e serverError) Error() string { return "the server answers with SQLSTATE " + string(e) }

// askerSettings keep a session from doing, and from waiting for, more than it
// must. A server that does not know one refuses the session.
var askerSettings = []parameter{
	{"client_encoding", "UTF8"},
	{"standard_conforming_strings", "on"},
	{"search_path", "pg_catalog, pg_temp"},
	{"default_transaction_read_only", "on"},
	{"row_security", "off"},
	{"statement_timeout", "1000"},
	{"lock_timeout", "200"},
	{"idle_in_transaction_session_timeout", "3000"}, // milliseconds
	{"max_parallel_workers_per_gather", "0"},
	{"jit", "off"},
}

// newAsker logs in as the session's server leg did. The caller closes it.
func newAsker(ctx context.Context, conn *protocol.Conn, database string) (*asker, error) {
	plain, err := conn.Dial(ctx)
	if err != nil {
		return nil, err
	}
	a := &asker{Conn: plain, left: maxAnswers}
	if err := a.begin(ctx, conn, database); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return a, nil
}

// begin secures the connection and logs in.
func (a *asker) begin(ctx context.Context, conn *protocol.Conn, database string) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := a.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if err := a.secure(ctx, conn); err != nil {
		return err
	}
	a.in = bufio.NewReader(a.Conn)
	first := []parameter{{"user", conn.Credential.User}, {"database", database}, {"application_name", "sluice/" + conn.Session.ID + " estimate"}}
	a.out = appendStartup(a.out[:0], first, askerSettings)
	if err := a.send(); err != nil {
		return err
	}
	return a.logIn(conn)
}

// secure begins TLS where the resource demands it.
func (a *asker) secure(ctx context.Context, conn *protocol.Conn) error {
	if conn.TLS.Mode == protocol.TLSOff {
		return nil
	}
	shown, err := certificates(conn)
	if err != nil {
		return err
	}
	if _, err := a.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil { // SSLRequest
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(a.Conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'S' {
		return errors.New("the server offers no TLS")
	}
	secured := tls.Client(a.Conn, serverConfig(conn.TLS.Config, shown, &a.login))
	a.Conn = secured
	return secured.HandshakeContext(ctx)
}

// logIn answers the server until it waits for a question.
func (a *asker) logIn(conn *protocol.Conn) error {
	for {
		kind, body, err := a.next()
		switch {
		case err != nil:
			return err
		case kind == msgAuthentication:
			if err := a.authenticate(conn, body); err != nil {
				return err
			}
		case kind == msgReadyForQuery:
			return nil
		}
	}
}

// authenticate is conversation.authenticate for a session of our own.
func (a *asker) authenticate(conn *protocol.Conn, body []byte) error {
	r := reader{b: body}
	kind := r.int32()
	if kind == authOK {
		if r.bad || a.login.scram != nil && !a.login.verified {
			return errAuthentication
		}
		return nil
	}
	password := conn.Credential.Password
	if password == "" && kind != authSASLContinue && kind != authSASLFinal {
		return errNoPassword
	}
	var answer []byte
	switch {
	case kind == authCleartext && conn.TLS.Mode != protocol.TLSOff:
		answer = append([]byte(password), 0)
	case kind == authMD5:
		answer = append(md5Password(conn.Credential, r.take(4)), 0)
	case kind == authSASL && a.login.scram == nil:
		s := newScram(r.b, a.login, password)
		if s == nil {
			return errAuthentication
		}
		a.login.scram = s
		answer = binary.BigEndian.AppendUint32(appendString(nil, s.mechanism), uint32(len(s.header)+len(s.first)))
		answer = append(append(answer, s.header...), s.first...)
	case kind == authSASLContinue && a.login.scram != nil && a.login.scram.signature == nil:
		final, err := a.login.scram.answer(r.b)
		if err != nil {
			return err
		}
		answer = final
	case kind == authSASLFinal && a.login.scram != nil && a.login.scram.verify(r.b):
		a.login.verified = true
		return nil
	default:
		return errAuthentication
	}
	if r.bad {
		return errMalformed
	}
	out, mark := open(a.out[:0], msgPassword)
	a.out = shut(append(out, answer...), mark)
	return a.send()
}

func (a *asker) send() error {
	_, err := a.Write(a.out)
	return err
}

// next reads one message. Its body is the caller's. An error of the server's is
// one while it lasts; the session may go on.
func (a *asker) next() (kind byte, body []byte, err error) {
	var head [headerSize]byte
	if _, err := io.ReadFull(a.in, head[:]); err != nil {
		return 0, nil, err
	}
	kind, size, err := header(head[:])
	if err != nil {
		return 0, nil, err
	}
	if a.left -= size; a.left < 0 {
		return 0, nil, errTooLarge
	}
	frame := make([]byte, size)
	copy(frame, head[:])
	if _, err := io.ReadFull(a.in, frame[headerSize:]); err != nil {
		return 0, nil, err
	}
	if kind == msgErrorResponse {
		return kind, nil, serverError(errorCode(frame))
	}
	return kind, frame[headerSize:], nil
}

// ask runs one question and returns its rows. NULL is "".
func (a *asker) ask(question string, params ...operation.Param) (rows [][]string, err error) {
	a.out = appendQuestion(a.out[:0], question, params)
	if err := a.send(); err != nil {
		return nil, err
	}
	var failed error
	for {
		kind, body, err := a.next()
		var said serverError
		switch {
		case errors.As(err, &said):
			failed = err
		case err != nil:
			return nil, err
		case kind == msgReadyForQuery:
			return rows, failed
		case kind == msgDataRow:
			row, ok := cells(body)
			if !ok {
				return nil, errMalformed
			}
			rows = append(rows, row)
		}
	}
}

// value is ask for one row of one cell.
func (a *asker) value(question string, params ...operation.Param) (string, error) {
	rows, err := a.ask(question, params...)
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		return "", fmt.Errorf("the server answers with %d rows", len(rows))
	}
	return rows[0][0], nil
}

// appendQuestion appends the messages that run a text with its parameters,
// under the types and in the formats that they came with.
func appendQuestion(dst []byte, question string, params []operation.Param) []byte {
	dst, mark := open(dst, msgParse)
	dst = append(appendString(dst, ""), question...)
	dst = binary.BigEndian.AppendUint16(append(dst, 0), uint16(len(params)))
	for _, p := range params {
		dst = binary.BigEndian.AppendUint32(dst, p.Type)
	}
	dst = shut(dst, mark)
	dst, mark = open(dst, msgBind)
	dst = binary.BigEndian.AppendUint16(append(dst, 0, 0), uint16(len(params)))
	for _, p := range params {
		format := uint16(0)
		if p.Binary {
			format = 1
		}
		dst = binary.BigEndian.AppendUint16(dst, format)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(params)))
	for _, p := range params {
		if p.Null {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		dst = append(binary.BigEndian.AppendUint32(dst, uint32(len(p.Text))), p.Text.Reveal()...)
	}
	dst = shut(append(dst, 0, 0), mark) // results as text
	dst, mark = open(dst, msgExecute)
	dst = shut(append(dst, 0, 0, 0, 0, 0), mark)
	return appendEnd(dst, true)
}

// cells reads a row of texts.
func cells(body []byte) (row []string, ok bool) {
	r := reader{b: body}
	for range r.int16() {
		size := r.int32()
		if size == -1 {
			row = append(row, "")
			continue
		}
		row = append(row, string(r.take(int(size))))
	}
	return row, r.done()
}
