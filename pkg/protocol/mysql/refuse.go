package mysql

import (
	"encoding/binary"
	"errors"
	"strconv"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// code is an error's number and SQLSTATE.
type code struct {
	number uint16
	state  string
}

func (c code) text() string { return strconv.Itoa(int(c.number)) }

// The errors that we say something with, each one that a server may send in
// such a place (mysqld_error.h). A refusal is ER_SPECIFIC_ACCESS_DENIED_ERROR:
// drivers know it as a lack of privilege, try nothing again because of it, and
// keep the session.
var (
	codeRefused      = code{1227, "42000"}
	codeCancelled    = code{1317, "70100"} // ER_QUERY_INTERRUPTED
	codeUndecided    = code{1105, "HY000"} // ER_UNKNOWN_ERROR
	codeUnknown      = code{1047, "08S01"} // ER_UNKNOWN_COM_ERROR
	codeMalformed    = code{1835, "HY000"} // ER_MALFORMED_PACKET
	codeTooLarge     = code{1153, "08S01"} // ER_NET_PACKET_TOO_LARGE
	codeTooMany      = code{1461, "42000"} // ER_MAX_PREPARED_STMT_COUNT_REACHED
	codeNoStatement  = code{1243, "HY000"} // ER_UNKNOWN_STMT_HANDLER
	codeNoThread     = code{1094, "HY000"} // ER_NO_SUCH_THREAD
	codeLoginRefused = code{1045, "28000"} // ER_ACCESS_DENIED_ERROR
	codeUnreachable  = code{1043, "08S01"} // ER_HANDSHAKE_ERROR
	codeStopped      = code{1927, "70100"} // ER_CONNECTION_KILLED of MariaDB
)

// failure is an error as a server sends it.
type failure struct {
	code
	message string
}

func errorOf(c code, message string) failure { return failure{c, message} }

// maxErrorMessage is the longest message that clients keep (MYSQL_ERRMSG_SIZE).
const maxErrorMessage = 511

// append appends an ERR packet.
func (f failure) append(dst []byte, sequence byte) []byte {
	dst, mark := open(dst, sequence)
	dst = binary.LittleEndian.AppendUint16(append(dst, 0xff), f.number)
	dst = append(append(dst, '#'), f.state...)
	message := protocol.Printable(f.message)
	for n := maxErrorMessage; n > 0 && len(message) > maxErrorMessage; n-- {
		if message[n]&0xc0 != 0x80 { // a character begins there
			message = message[:n]
		}
	}
	return shut(append(dst, message...), mark)
}

// readFailure reads the payload of an ERR packet of a session that speaks
// protocol 4.1.
func readFailure(payload []byte) (failure, bool) {
	r := reader{b: payload}
	if r.uint8() != 0xff {
		return failure{}, false
	}
	f := failure{code: code{number: r.uint16(), state: "HY000"}}
	if len(r.b) >= 6 && r.b[0] == '#' {
		r.take(1)
		f.state = string(r.take(5))
	}
	f.message = string(r.b)
	return f, !r.bad
}

// refusal says in words for the client why an operation was refused.
func refusal(d protocol.Decision, err error) string {
	switch {
	case errors.Is(err, protocol.ErrInterrupted):
		return "Query execution was interrupted"
	case err != nil:
		return "sluice could not decide about this statement, so it is refused"
	}
	return d.Refusal()
}

// refusalCode is the error of a refusal.
func refusalCode(err error) code {
	switch {
	case errors.Is(err, protocol.ErrInterrupted):
		return codeCancelled
	case err != nil:
		return codeUndecided
	}
	return codeRefused
}

// deny refuses the command at the front. The server hears nothing of it, so
// that its transaction goes on.
func (c *conversation) deny(s *stream, size int, e failure, rule string) {
	o := c.front.op
	c.front = front{}
	c.swallow(s, size)
	o.Outcome = protocol.Outcome{Status: protocol.Refused, Code: e.text(), Rule: rule}
	c.sendError(1, e, o)
	c.settle(o)
}
