package ssh

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/pkg/operation"
)

// The messages of SFTP version 3 (draft-ietf-secsh-filexfer-02), section 3.
const (
	sftpInit          = 1
	sftpVersion       = 2
	sftpOpen          = 3
	sftpClose         = 4
	sftpRead          = 5
	sftpWrite         = 6
	sftpLstat         = 7
	sftpFstat         = 8
	sftpSetstat       = 9
	sftpFsetstat      = 10
	sftpOpendir       = 11
	sftpReaddir       = 12
	sftpRemove        = 13
	sftpMkdir         = 14
	sftpRmdir         = 15
	sftpRealpath      = 16
	sftpStat          = 17
	sftpRename        = 18
	sftpReadlink      = 19
	sftpSymlink       = 20
	sftpStatus        = 101
	sftpHandle        = 102
	sftpData          = 103
	sftpName          = 104
	sftpAttrs         = 105
	sftpExtended      = 200
	sftpExtendedReply = 201
)

// Status codes and flags of SFTP, sections 7 and 6.3.
const (
	sftpOK               = 0
	sftpEOF              = 1
	sftpPermissionDenied = 3
	sftpFailure          = 4

	flagRead   = 0x01
	flagWrites = 0x02 | 0x04 | 0x08 | 0x10 // write, append, create, truncate
)

const (
	// maxSFTP is the largest message, as in OpenSSH's server.
	maxSFTP = 256 << 10
	// sftpSpoken is the version that is decoded.
	sftpSpoken = 3
)

var errSFTP = errors.New("a message is not SFTP's")

// fileRequest is one request of an SFTP client.
type fileRequest struct {
	kind    byte
	id      uint32
	handle  string
	flags   uint32 // of open
	offset  uint64
	data    []byte // of write
	size    uint32 // of read
	name    string // of an extension
	path    string
	newPath string
	to      string // of copy-data: the other handle
}

// parseFileRequest reads a message of a client, without its length.
func parseFileRequest(message []byte) (fileRequest, error) {
	f := fields{rest: message}
	r := fileRequest{kind: f.byte()}
	r.id = f.uint32() // of sftpInit its version
	switch r.kind {
	case sftpInit:
		f.rest = nil // extensions
	case sftpOpen:
		r.path, r.flags = f.string(), f.uint32()
		f.rest = nil // attributes
	case sftpClose, sftpFstat, sftpReaddir:
		r.handle = f.string()
	case sftpRead:
		r.handle, r.offset, r.size = f.string(), f.uint64(), f.uint32()
	case sftpWrite:
		r.handle, r.offset, r.data = f.string(), f.uint64(), f.bytes()
	case sftpFsetstat:
		r.handle = f.string()
		f.rest = nil
	case sftpSetstat, sftpMkdir:
		r.path = f.string()
		f.rest = nil
	case sftpLstat, sftpStat, sftpOpendir, sftpRemove, sftpRmdir, sftpRealpath, sftpReadlink:
		r.path = f.string()
	case sftpRename, sftpSymlink:
		r.path, r.newPath = f.string(), f.string()
	case sftpExtended:
		r.name = f.string()
		r.extension(&f)
	default:
		return r, fmt.Errorf("%w: kind %d", errSFTP, r.kind)
	}
	if f.short || len(f.rest) > 0 {
		return r, errSFTP
	}
	return r, nil
}

// extension reads what OpenSSH's PROTOCOL, section 4, adds. What is not known
// keeps its name only.
func (r *fileRequest) extension(f *fields) {
	switch r.name {
	case "posix-rename@openssh.com", "hardlink@openssh.com":
		r.path, r.newPath = f.string(), f.string()
	case "statvfs@openssh.com", "expand-path@openssh.com":
		r.path = f.string()
	case "lsetstat@openssh.com":
		r.path = f.string()
		f.rest = nil
	case "fstatvfs@openssh.com", "fsync@openssh.com":
		r.handle = f.string()
	case "copy-data":
		r.handle, r.offset = f.string(), f.uint64()
		_ = f.uint64() // how much
		r.to = f.string()
		_ = f.uint64() // where to
	default:
		f.rest = nil
	}
}

// action says what a request does to a path, in words for the record; "" for
// one that only goes on with what was allowed.
func (r *fileRequest) action() (action operation.FileAction, words string) {
	switch r.kind {
	case sftpOpen:
		if r.flags&flagWrites != 0 {
			return operation.FileWrite, "open for writing"
		}
		return operation.FileRead, "open for reading"
	case sftpOpendir:
		return operation.FileList, "list"
	case sftpLstat, sftpStat, sftpRealpath, sftpReadlink:
		return operation.FileStat, "look at"
	case sftpSetstat, sftpFsetstat:
		return operation.FileSetStat, "change attributes of"
	case sftpRemove:
		return operation.FileRemove, "remove"
	case sftpRename:
		return operation.FileRename, "rename"
	case sftpMkdir:
		return operation.FileMkdir, "make directory"
	case sftpRmdir:
		return operation.FileRmdir, "remove directory"
	case sftpSymlink:
		return operation.FileLink, "link"
	case sftpExtended:
		return r.extended()
	}
	return "", ""
}

func (r *fileRequest) extended() (action operation.FileAction, words string) {
	switch r.name {
	case "posix-rename@openssh.com":
		return operation.FileRename, "rename"
	case "hardlink@openssh.com":
		return operation.FileLink, "link"
	case "statvfs@openssh.com", "expand-path@openssh.com":
		return operation.FileStat, "look at"
	case "lsetstat@openssh.com":
		return operation.FileSetStat, "change attributes of"
	case "fstatvfs@openssh.com", "fsync@openssh.com", "copy-data", "limits@openssh.com", "users-groups-by-id@openssh.com", "home-directory":
		return "", ""
	}
	return operation.FileOther, "extension " + r.name + " on"
}

// byHandle reports whether a request goes on with an open file.
func (r *fileRequest) byHandle() bool {
	switch r.kind {
	case sftpClose, sftpRead, sftpWrite, sftpFstat, sftpFsetstat, sftpReaddir:
		return true
	}
	return r.name == "fstatvfs@openssh.com" || r.name == "fsync@openssh.com" || r.name == "copy-data"
}

// renames reports whether a request has two paths.
func (r *fileRequest) renames() bool {
	return r.kind == sftpRename || r.kind == sftpSymlink || r.name == "posix-rename@openssh.com" || r.name == "hardlink@openssh.com"
}

// named reports whether an extension is known to have a path.
func (r *fileRequest) named() bool {
	return r.renames() || r.name == "statvfs@openssh.com" || r.name == "expand-path@openssh.com" || r.name == "lsetstat@openssh.com"
}

// followed reports whether the server follows a symbolic link that the path
// ends in.
func (r *fileRequest) followed() bool {
	switch r.kind {
	case sftpOpen, sftpOpendir, sftpStat, sftpSetstat, sftpRealpath:
		return true
	}
	return r.name == "statvfs@openssh.com"
}

// fileReply is one message of an SFTP server.
type fileReply struct {
	kind   byte
	id     uint32 // of sftpVersion its version
	code   uint32 // of status
	handle string
	data   []byte
	name   string // the first of sftpName
}

// parseFileReply reads a message of a server, without its length.
func parseFileReply(message []byte) (fileReply, error) {
	f := fields{rest: message}
	r := fileReply{kind: f.byte()}
	r.id = f.uint32()
	switch r.kind {
	case sftpVersion, sftpAttrs, sftpExtendedReply:
	case sftpStatus:
		r.code = f.uint32()
	case sftpHandle:
		r.handle = f.string()
	case sftpData:
		r.data = f.bytes()
	case sftpName:
		if f.uint32() > 0 {
			r.name = f.string()
		}
	default:
		return r, fmt.Errorf("%w: kind %d", errSFTP, r.kind)
	}
	if f.short {
		return r, errSFTP
	}
	return r, nil
}

// appendStatus appends an answer of ours, with its length.
func appendStatus(dst []byte, id, code uint32, text string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+4+4+4+len(text)+4)) //nolint:gosec // a refusal's text is short
	dst = append(dst, sftpStatus)
	dst = binary.BigEndian.AppendUint32(dst, id)
	dst = binary.BigEndian.AppendUint32(dst, code)
	dst = appendText(dst, text)
	return appendText(dst, "")
}

// appendRealpath appends a question of ours.
func appendRealpath(dst []byte, id uint32, path string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+4+4+len(path))) //nolint:gosec // it came in a message
	dst = append(dst, sftpRealpath)
	dst = binary.BigEndian.AppendUint32(dst, id)
	return appendText(dst, path)
}

func appendText(dst []byte, text string) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(text))) //nolint:gosec // it fits a message
	return append(dst, text...)
}

// fields reads a message's fields. What is not there is zero, and short.
type fields struct {
	rest  []byte
	short bool
}

func (f *fields) take(n int) []byte {
	if f.short || n < 0 || n > len(f.rest) {
		f.short = true
		return nil
	}
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

func (f *fields) byte() byte {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if b := f.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (f *fields) uint64() uint64 {
	if b := f.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (f *fields) bytes() []byte {
	size := f.uint32()
	if size > maxSFTP {
		f.short = true
		return nil
	}
	return f.take(int(size))
}

func (f *fields) string() string { return string(f.bytes()) }
