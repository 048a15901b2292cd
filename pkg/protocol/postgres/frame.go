package postgres

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// A message is a letter, a length that counts itself but not the letter, and
// a body. Start-up packets have no letter.
const (
	headerSize = 5
	maxStartup = 10000      // MAX_STARTUP_PACKET_LENGTH
	maxFrame   = 0x3fffffff // MaxAllocSize: the server takes none that is longer

	tlsHandshake = 0x16 // the first byte of a TLS client; of a length that is allowed it is 0
)

// Request codes that stand where a version would.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
	version30     = 3 << 16
	version32     = 3<<16 | 2 // cancel keys of up to 256 bytes
)

// Messages of the client.
const (
	msgBind         = 'B'
	msgClose        = 'C'
	msgCopyData     = 'd' // both directions
	msgCopyDone     = 'c' // both directions
	msgCopyFail     = 'f'
	msgDescribe     = 'D'
	msgExecute      = 'E'
	msgFlush        = 'H'
	msgFunctionCall = 'F'
	msgParse        = 'P'
	msgPassword     = 'p'
	msgQuery        = 'Q'
	msgSync         = 'S'
	msgTerminate    = 'X'
)

// Messages of the server.
const (
	msgAuthentication       = 'R'
	msgBackendKeyData       = 'K'
	msgBindComplete         = '2'
	msgCloseComplete        = '3'
	msgCommandComplete      = 'C'
	msgCopyBothResponse     = 'W'
	msgCopyInResponse       = 'G'
	msgCopyOutResponse      = 'H'
	msgDataRow              = 'D'
	msgEmptyQueryResponse   = 'I'
	msgErrorResponse        = 'E'
	msgFunctionCallResponse = 'V'
	msgNegotiateVersion     = 'v'
	msgNoData               = 'n'
	msgNotice               = 'N'
	msgNotification         = 'A'
	msgParameterDescription = 't'
	msgParameterStatus      = 'S'
	msgParseComplete        = '1'
	msgPortalSuspended      = 's'
	msgReadyForQuery        = 'Z'
	msgRowDescription       = 'T'
)

var (
	errFrameLength = errors.New("a message length is impossible")
	errMalformed   = errors.New("a message is malformed")
)

// header reads the letter and the whole size of the message that b begins
// with; b holds at least headerSize bytes.
func header(b []byte) (kind byte, size int, err error) {
	length := binary.BigEndian.Uint32(b[1:])
	if length < 4 || length > maxFrame {
		return 0, 0, errFrameLength
	}
	return b[0], int(length) + 1, nil
}

// open begins a message in dst; shut ends it. mark is where it began.
func open(dst []byte, kind byte) (buf []byte, mark int) {
	return append(dst, kind, 0, 0, 0, 0), len(dst)
}

func shut(buf []byte, mark int) []byte {
	binary.BigEndian.PutUint32(buf[mark+1:], uint32(len(buf)-mark-1))
	return buf
}

// appendString appends s and its terminator. s holds no NUL: it comes from
// configuration or from a C string.
func appendString(dst []byte, s string) []byte { return append(append(dst, s...), 0) }

// reader takes the fields of a message body one by one. After a field that is
// not there it is bad and gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return nil
	}
	field := r.b[:n:n]
	r.b = r.b[n:]
	return field
}

func (r *reader) uint8() byte {
	if field := r.take(1); field != nil {
		return field[0]
	}
	return 0
}

func (r *reader) int16() int {
	if field := r.take(2); field != nil {
		return int(binary.BigEndian.Uint16(field))
	}
	return 0
}

func (r *reader) int32() int32 {
	if field := r.take(4); field != nil {
		return int32(binary.BigEndian.Uint32(field))
	}
	return 0
}

// cstring takes a string without its terminator.
func (r *reader) cstring() []byte {
	end := bytes.IndexByte(r.b, 0)
	if r.bad || end < 0 {
		r.bad = true
		return nil
	}
	field := r.b[:end:end]
	r.b = r.b[end+1:]
	return field
}

// done reports whether the body was well-formed and is used up.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }
