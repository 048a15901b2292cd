package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/spool"
)

// Two proxies of one agent trust each other with their records: both hold the
// key that signs them. A request is
//
//	header length u32 | body length u32 | workload u64 | header | body
//
// where no header asks that the record at a position, which stands in the place
// of the workload, be settled; an answer is
//
//	outcome u8 | position u64 | text length u16 | text
//
// in little endian.
const (
	requestHead = 16
	answerHead  = 11

	written, failed, dropped byte = 0, 1, 2 // outcomes

	// answerWait is how long a record may take.
	answerWait = 30 * time.Second
)

// Remote is the log of another process, for Follow.
type Remote struct {
	mu     sync.Mutex
	conn   net.Conn // guarded by mu
	buffer []byte   // guarded by mu
	failed error    // guarded by mu; what is under way when one fails would be taken for an answer
}

// NewRemote returns the log at the other end of a stream, which Serve serves. It
// owns the stream.
func NewRemote(conn net.Conn) *Remote { return &Remote{conn: conn} }

// Close makes everything that is written from now on fail.
func (r *Remote) Close() error { return r.conn.Close() }

func (r *Remote) put(header, body []byte, netns uint64) (spool.Position, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	request := binary.LittleEndian.AppendUint32(r.buffer[:0], uint32(len(header)))
	request = binary.LittleEndian.AppendUint32(request, uint32(len(body)))
	request = binary.LittleEndian.AppendUint64(request, netns)
	r.buffer = append(append(request, header...), body...)
	return r.ask(r.buffer)
}

func (r *Remote) settle(position spool.Position) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.ask(binary.LittleEndian.AppendUint64(make([]byte, 8, requestHead), uint64(position)))
	return err
}

// ask sends a request and reads its answer. mu is held.
func (r *Remote) ask(request []byte) (spool.Position, error) {
	if r.failed != nil {
		return 0, r.failed
	}
	position, refused, err := r.exchange(request)
	if err != nil {
		r.failed = fmt.Errorf("write record in another process: %w", err)
		return 0, r.failed
	}
	return position, refused
}

func (r *Remote) exchange(request []byte) (position spool.Position, refused, err error) {
	if err := r.conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		return 0, nil, err
	}
	if _, err := r.conn.Write(request); err != nil {
		return 0, nil, err
	}
	var head [answerHead]byte
	if _, err := io.ReadFull(r.conn, head[:]); err != nil {
		return 0, nil, err
	}
	text := make([]byte, binary.LittleEndian.Uint16(head[9:]))
	if _, err := io.ReadFull(r.conn, text); err != nil {
		return 0, nil, err
	}
	switch head[0] {
	case failed:
		return 0, errors.New(string(text)), nil
	case dropped:
		return 0, errDropped, nil
	}
	return spool.Position(binary.LittleEndian.Uint64(head[1:])), nil, nil
}

// Serve writes the records of another process's sessions until that one hangs
// up, and closes the stream.
func (l *Log) Serve(conn net.Conn) error {
	defer conn.Close() //nolint:errcheck // what counts was answered
	head := make([]byte, requestHead)
	var rest []byte
	for {
		if _, err := io.ReadFull(conn, head); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read record of another process: %w", err)
		}
		header, body := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		if header > record.MaxHeader || body > record.MaxBody {
			return errors.New("read record of another process: it is too long")
		}
		rest = append(rest[:0], make([]byte, header+body)...)
		if _, err := io.ReadFull(conn, rest); err != nil {
			return fmt.Errorf("read record of another process: %w", err)
		}
		position, err := l.serve(rest[:header], rest[header:], binary.LittleEndian.Uint64(head[8:]))
		if _, err := conn.Write(answer(position, err)); err != nil {
			return fmt.Errorf("answer another process: %w", err)
		}
	}
}

func (l *Log) serve(header, body []byte, what uint64) (spool.Position, error) {
	if len(header) == 0 {
		return spool.Position(what), l.settle(spool.Position(what))
	}
	return l.put(header, body, what)
}

func answer(position spool.Position, err error) []byte {
	text, outcome := "", written
	switch {
	case errors.Is(err, errDropped):
		outcome = dropped
	case err != nil:
		text, outcome = err.Error(), failed
	}
	text = text[:min(len(text), 1<<10)]
	a := binary.LittleEndian.AppendUint64([]byte{outcome}, uint64(position))
	a = binary.LittleEndian.AppendUint16(a, uint16(len(text)))
	return append(a, text...)
}
