package main

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rings hand system calls to io_uring, which no filter of system calls sees.
func rings() []technique {
	return []technique{
		{"uring-connect", ringConnect(0)},
		{"uring-connect-sqpoll", ringConnect(setupSQPoll)},
		{"uring-sendmsg", ringSend},
	}
}

// From linux/io_uring.h.
const (
	setupSQPoll     = 1 << 1
	enterGetEvents  = 1 << 0
	enterSQWakeup   = 1 << 1
	offSQEs         = 0x10000000
	opSendmsg       = 9
	opConnect       = 16
	sqNeedWakeup    = 1 << 0
	submissionBytes = 64
	completionBytes = 16
)

// offsets are where a ring's parts lie in its mapping.
type offsets struct {
	head, tail, mask, entries, flagsOrOverflow, dropped, array, _ uint32
	_                                                             uint64
}

type ringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq, cq                                                             offsets
}

// submission is one entry of the submission queue.
type submission struct {
	opcode, flags  uint8
	priority       uint16
	fd             int32
	off, addr      uint64
	length, opFlag uint32
	user           uint64
	_              [3]uint64
}

// ring is an io_uring with its queues mapped. It lives as long as the process.
type ring struct {
	fd     int
	params ringParams
	queues []byte // both; every kernel that matters maps them as one
	sqes   []byte
}

func newRing(flags uint32) (*ring, error) {
	r := &ring{params: ringParams{flags: flags, threadIdle: 1000}}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w", errno)
	}
	r.fd = int(fd)
	size := max(r.params.sq.array+4*r.params.sqEntries, r.params.cq.dropped+completionBytes*r.params.cqEntries)
	var err error
	if r.queues, err = unix.Mmap(r.fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, fmt.Errorf("map queues: %w", err)
	}
	if r.sqes, err = unix.Mmap(r.fd, offSQEs, submissionBytes*int(r.params.sqEntries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE); err != nil {
		return nil, fmt.Errorf("map submissions: %w", err)
	}
	return r, nil
}

func (r *ring) word(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.queues[offset])) }

// do submits one entry and waits for its result.
func (r *ring) do(s submission) error {
	*(*submission)(unsafe.Pointer(&r.sqes[0])) = s
	*r.word(r.params.sq.array) = 0
	atomic.StoreUint32(r.word(r.params.sq.tail), 1)
	submit, flags := uintptr(1), uintptr(0)
	if r.params.flags&setupSQPoll != 0 {
		submit = 0
		if atomic.LoadUint32(r.word(r.params.sq.flagsOrOverflow))&sqNeedWakeup != 0 {
			flags = enterSQWakeup
		}
	}
	if err := call(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, 0, flags); err != nil {
		return fmt.Errorf("io_uring_enter: %w", err)
	}
	deadline := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); atomic.LoadUint32(r.word(r.params.cq.tail)) == 0; <-tick.C {
		if time.Now().After(deadline) {
			return unix.EINPROGRESS
		}
	}
	// A completion is user data, result and flags; cqes come where the
	// submission queue has its count of dropped entries.
	result := int32(*r.word(r.params.cq.dropped + 8))
	if result < 0 {
		return unix.Errno(-result)
	}
	return nil
}

func ringConnect(flags uint32) func(target) seen {
	return func(to target) seen {
		fd, err := open(unix.AF_INET, unix.SOCK_STREAM, 0)
		if err != nil {
			return saw("", err)
		}
		r, err := newRing(flags)
		if err != nil {
			return saw("", err)
		}
		raw := rawAddress(to)
		err = r.do(submission{
			opcode: opConnect, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(raw))), off: uint64(unsafe.Sizeof(*raw)),
		})
		runtime.KeepAlive(raw)
		if err != nil {
			return saw("connect", err)
		}
		return listen(fd)
	}
}

func ringSend(to target) seen {
	fd, err := open(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return saw("", err)
	}
	r, err := newRing(0)
	if err != nil {
		return saw("", err)
	}
	raw, text := rawAddress(to), []byte(payload)
	vector := unix.Iovec{Base: &text[0], Len: uint64(len(text))}
	message := &unix.Msghdr{Name: (*byte)(unsafe.Pointer(raw)), Namelen: uint32(unsafe.Sizeof(*raw)), Iov: &vector, Iovlen: 1}
	err = r.do(submission{opcode: opSendmsg, fd: int32(fd), addr: uint64(uintptr(unsafe.Pointer(message))), length: 1})
	runtime.KeepAlive(message)
	return saw("sendmsg", err)
}

func rawAddress(to target) *unix.RawSockaddrInet4 {
	return &unix.RawSockaddrInet4{Family: unix.AF_INET, Port: networkOrder(to.Port), Addr: to.Server4.As4()}
}
