package broker

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// link is one end of the socket between the two halves. Any goroutine may send;
// one receives.
type link struct {
	conn    *net.UnixConn
	buffer  []byte
	control []byte
}

// packet is one that was received. Body is good until the next receive;
// whoever receives closes the descriptors.
type packet struct {
	kind   kind
	number uint32
	body   []byte
	fds    []int
}

// pair makes the two ends of a link: ours, and the file that the other process
// inherits.
func pair() (*link, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "proxy's end")
	ours, err := attach(os.NewFile(uintptr(fds[0]), "broker's end"))
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return ours, theirs, nil
}

// attach makes a link of a file, which it closes.
func attach(file *os.File) (*link, error) {
	conn, err := net.FileConn(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("attach to socket: %w", err)
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(errors.New("attach to socket: it is not a unix socket"), conn.Close())
	}
	return &link{conn: socket, buffer: make([]byte, maxPacket)}, nil
}

// takeFiles lets packets carry so many descriptors in. The broker does not:
// whatever a proxy may hold, its broker shall not.
func (l *link) takeFiles(most int) { l.control = make([]byte, unix.CmsgSpace(most*4)) }

// send sends one packet. The descriptors stay the caller's. It waits while the
// other half reads nothing.
func (l *link) send(kind kind, number uint32, body []byte, fds ...int) error {
	if packetHead+len(body) > maxPacket {
		return fmt.Errorf("send: %d bytes do not fit a packet", len(body))
	}
	bytes := make([]byte, 0, packetHead+len(body))
	bytes = binary.LittleEndian.AppendUint32(append(bytes, byte(kind)), number)
	bytes = append(bytes, body...)
	var control []byte
	if len(fds) > 0 {
		control = unix.UnixRights(fds...)
	}
	if _, _, err := l.conn.WriteMsgUnix(bytes, control, nil); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// receive waits for a packet. It ends with io.EOF when the other half is gone.
func (l *link) receive() (packet, error) {
	n, controlled, flags, _, err := l.conn.ReadMsgUnix(l.buffer, l.control)
	if errors.Is(err, unix.ECONNRESET) {
		err = io.EOF // it is gone, and had not read everything
	}
	if err != nil {
		return packet{}, fmt.Errorf("receive: %w", err)
	}
	fds, err := rights(l.control[:controlled])
	if err == nil && (n < packetHead || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0) {
		err = errMalformed
	}
	if err != nil {
		closeAll(fds)
		return packet{}, fmt.Errorf("receive: %w", err)
	}
	return packet{
		kind: kind(l.buffer[0]), number: binary.LittleEndian.Uint32(l.buffer[1:]), body: l.buffer[packetHead:n], fds: fds,
	}, nil
}

// rights returns the descriptors that came with a packet.
func rights(control []byte) ([]int, error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // nobody else knows of it
	}
}

// close ends the link for both halves.
func (l *link) close() error { return l.conn.Close() }

// sendWait is how long the other half may leave its socket full.
const sendWait = 10 * time.Second

// impatient bounds how long a send may wait from now on.
func (l *link) impatient() { _ = l.conn.SetWriteDeadline(time.Now().Add(sendWait)) }
