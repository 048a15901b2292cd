package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sluicegate/sluice/pkg/failpoint"
)

// A segment is one preallocated file, mapped as a whole:
//
//	"SLSPOOL1" | number u32 | seed u32 | size u64 | 36 zero | crc u32
//	entry, entry, …, zeros
//
// and an entry, at a multiple of 8:
//
//	len(head) u32 | len(rest) u32 | kind u8 | 3 zero | crc u32 | head | rest | padding
//
// Numbers are little endian. The checksum is CRC-32C over the segment's random
// seed, the entry's offset, its first 12 bytes, head and rest. The seed keeps
// what a job wrote into a record from passing for an entry of its own.
const (
	segmentMagic = "SLSPOOL1"
	segmentHead  = 64
	entryHead    = 16
	suffix       = ".seg"
)

var errAltered = errors.New("the segment's head is altered")

// segment is one mapped file.
type segment struct {
	number uint32
	file   *os.File
	data   []byte // the whole mapping
	sum    uint32 // of the seed: where each entry's checksum starts
	used   uint32 // bytes up to the next entry
	gaps   []gap  // entries that cannot be read, by offset

	lead [entryHead]byte // checksum's memory, which would escape: an entry's offset and head
}

// gap is a run of bytes between entries that cannot be read.
type gap struct{ from, to uint32 }

func segmentName(number uint32) string { return fmt.Sprintf("%010d%s", number, suffix) }

// listSegments returns the numbers of the segments in dir, ascending.
func listSegments(dir string) ([]uint32, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var numbers []uint32
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		number, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("list segments: %q is not a segment's name", e.Name())
		}
		numbers = append(numbers, uint32(number))
	}
	slices.Sort(numbers)
	return numbers, nil
}

// createSegment makes a segment whose space is reserved and whose name is on
// stable storage.
func createSegment(dir string, number uint32, size int64) (seg *segment, err error) {
	name := filepath.Join(dir, segmentName(number))
	file, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, diskError("create segment", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(name))
		}
	}()
	if err := unix.Fallocate(int(file.Fd()), 0, 0, size); err != nil {
		return nil, diskError("reserve segment", err)
	}
	failpoint.Here("spool.segment.reserved")
	if err := fillWithZeros(file, size); err != nil {
		return nil, diskError("fill segment", err)
	}
	var head [segmentHead]byte
	copy(head[:], segmentMagic)
	binary.LittleEndian.PutUint32(head[8:], number)
	_, _ = rand.Read(head[12:16]) // never fails
	binary.LittleEndian.PutUint64(head[16:], uint64(size))
	binary.LittleEndian.PutUint32(head[60:], crc32.Checksum(head[:60], castagnoli()))
	if _, err := file.WriteAt(head[:], 0); err != nil {
		return nil, diskError("write segment", err)
	}
	failpoint.Here("spool.segment.written")
	if err := file.Sync(); err != nil {
		return nil, diskError("sync segment", err)
	}
	if err := syncDir(dir); err != nil {
		return nil, diskError("sync segment", err)
	}
	return mapSegment(file, number)
}

// fillWithZeros writes what was reserved. The first touch of a page that was
// only reserved costs an append 3 µs, and of one that was written in large
// pieces 0.2; and an fdatasync behind it has nothing to write but the page, no
// extent to convert and no journal to commit.
func fillWithZeros(file *os.File, size int64) error {
	zeros := make([]byte, min(size, 1<<20))
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := file.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// diskError tells a full disk from a broken one.
func diskError(what string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%s: %w: %w", what, ErrFull, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// openSegment maps a segment that is there.
func openSegment(dir string, number uint32) (*segment, error) {
	file, err := os.OpenFile(filepath.Join(dir, segmentName(number)), os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	seg, err := mapSegment(file, number)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return seg, nil
}

// mapSegment maps file, which belongs to the segment from then on.
func mapSegment(file *os.File, number uint32) (*segment, error) {
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("open segment: %w", err)
	}
	var head [segmentHead]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return nil, errAltered
	}
	sum := binary.LittleEndian.Uint32(head[60:])
	size := binary.LittleEndian.Uint64(head[16:])
	if string(head[:8]) != segmentMagic || sum != crc32.Checksum(head[:60], castagnoli()) ||
		binary.LittleEndian.Uint32(head[8:]) != number || size != uint64(info.Size()) || size > 1<<30 {
		return nil, errAltered
	}
	data, err := unix.Mmap(int(file.Fd()), 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map segment: %w", err)
	}
	seed := crc32.Checksum(head[12:16], castagnoli())
	return &segment{number: number, file: file, data: data, sum: seed, used: segmentHead}, nil
}

func (seg *segment) close() error {
	return errors.Join(unix.Munmap(seg.data), seg.file.Close())
}

// room reports whether an entry of n bytes, head and rest, fits.
func (seg *segment) room(n int) bool {
	return int64(seg.used)+entrySize(n) <= int64(len(seg.data))
}

// entrySize returns what n bytes take in a segment.
func entrySize(n int) int64 { return (int64(n) + entryHead + 7) &^ 7 }

// append copies an entry behind the last one. The bytes that make it an entry
// are written last. A fault of the mapping is an error.
func (seg *segment) append(kind Kind, head, rest []byte) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if caught := recover(); caught != nil {
			err = faultError(caught)
		}
	}()
	var fixed [entryHead]byte
	binary.LittleEndian.PutUint32(fixed[0:], uint32(len(head)))
	binary.LittleEndian.PutUint32(fixed[4:], uint32(len(rest)))
	fixed[8] = byte(kind)
	binary.LittleEndian.PutUint32(fixed[12:], seg.checksum(seg.used, fixed[:12], head, rest))
	failpoint.Here("spool.append")
	body := seg.data[seg.used+entryHead:]
	copy(body[copy(body, head):], rest)
	failpoint.Here("spool.append.torn")
	copy(seg.data[seg.used:], fixed[:])
	failpoint.Here("spool.append.done")
	seg.used += uint32(entrySize(len(head) + len(rest)))
	return nil
}

func (seg *segment) checksum(offset uint32, fixed, head, rest []byte) uint32 {
	binary.LittleEndian.PutUint32(seg.lead[:], offset)
	copy(seg.lead[4:], fixed)
	table := castagnoli()
	sum := crc32.Update(seg.sum, table, seg.lead[:])
	sum = crc32.Update(sum, table, head)
	return crc32.Update(sum, table, rest)
}

// castagnoli returns the table of CRC-32C, which hash/crc32 makes once.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// entryAt returns the entry at offset, sharing the mapping's memory, and
// whether there is a whole one.
func (seg *segment) entryAt(offset uint32) (kind Kind, head, rest []byte, ok bool) {
	if int64(offset)+entryHead > int64(len(seg.data)) {
		return 0, nil, nil, false
	}
	fixed := seg.data[offset : offset+entryHead]
	n := int64(binary.LittleEndian.Uint32(fixed[0:]))
	m := int64(binary.LittleEndian.Uint32(fixed[4:]))
	if fixed[8] == 0 || fixed[9]|fixed[10]|fixed[11] != 0 || int64(offset)+entryHead+n+m > int64(len(seg.data)) {
		return 0, nil, nil, false
	}
	body := seg.data[offset+entryHead:]
	head, rest = body[:n], body[n:n+m]
	if seg.checksum(offset, fixed[:12], head, rest) != binary.LittleEndian.Uint32(fixed[12:]) {
		return 0, nil, nil, false
	}
	return Kind(fixed[8]), head, rest, true
}
