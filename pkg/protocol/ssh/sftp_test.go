package ssh

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
)

// sftpMessage puts a message together: bytes, uint32, uint64 and strings.
func sftpMessage(kind byte, parts ...any) []byte {
	m := []byte{kind}
	for _, part := range parts {
		switch part := part.(type) {
		case int:
			m = binary.BigEndian.AppendUint32(m, uint32(part)) //nolint:gosec // small
		case uint64:
			m = binary.BigEndian.AppendUint64(m, part)
		case string:
			m = appendText(m, part)
		case []byte:
			m = append(m, part...)
		}
	}
	return m
}

func TestFileRequests(t *testing.T) {
	for _, test := range []struct {
		message []byte
		action  operation.FileAction
		path    string
		newPath string
		handle  string
		bad     bool
	}{
		{message: sftpMessage(sftpOpen, 7, "/a", flagRead, 0), action: operation.FileRead, path: "/a"},
		{message: sftpMessage(sftpOpen, 7, "/a", 0x1a, 4, 0o644), action: operation.FileWrite, path: "/a"},
		{message: sftpMessage(sftpOpen, 7, "/a", 0x08, 0), action: operation.FileWrite, path: "/a"},
		{message: sftpMessage(sftpRead, 7, "h", uint64(9), 4), handle: "h"},
		{message: sftpMessage(sftpWrite, 7, "h", uint64(9), "data"), handle: "h"},
		{message: sftpMessage(sftpRename, 7, "/a", "/b"), action: operation.FileRename, path: "/a", newPath: "/b"},
		{message: sftpMessage(sftpExtended, 7, "posix-rename@openssh.com", "/a", "/b"), action: operation.FileRename, path: "/a", newPath: "/b"},
		{message: sftpMessage(sftpExtended, 7, "hardlink@openssh.com", "/a", "/b"), action: operation.FileLink, path: "/a", newPath: "/b"},
		{message: sftpMessage(sftpExtended, 7, "somebody@example.com", "/a"), action: operation.FileOther},
		{message: sftpMessage(sftpExtended, 7, "fsync@openssh.com", "h"), handle: "h"},
		{message: sftpMessage(sftpRemove, 7, "/a"), action: operation.FileRemove, path: "/a"},
		{message: sftpMessage(sftpRemove, 7, "/a", 1), bad: true},
		{message: sftpMessage(sftpRemove, 7), bad: true},
		{message: sftpMessage(sftpRename, 7, "/a"), bad: true},
		{message: sftpMessage(sftpWrite, 7, "h", uint64(9), 400), bad: true},
		{message: sftpMessage(sftpWrite, 7, "h", uint64(9), -1), bad: true},
		{message: sftpMessage(99, 7), bad: true},
		{message: sftpMessage(sftpData, 7, "x"), bad: true},
		{message: nil, bad: true},
	} {
		r, err := parseFileRequest(test.message)
		action, _ := r.action()
		if test.bad != (err != nil) || err == nil && (action != test.action || r.path != test.path || r.newPath != test.newPath || r.handle != test.handle) {
			t.Errorf("%x: got %q %q %q %q, %v", test.message, action, r.path, r.newPath, r.handle, err)
		}
	}
}

func TestPathsAreMadePlain(t *testing.T) {
	for _, test := range []struct {
		home, name, want string
		certain          bool
	}{
		{"/home/a", "b", "/home/a/b", true},
		{"/home/a", "/etc//x/./y/", "/etc/x/y", true},
		{"/home/a", "/srv/../etc/x", "/etc/x", false},
		{"/home/a", "..", "/home", false},
		{"", "b", "/b", false},
		{"/home/a", "/a/..b/c..", "/a/..b/c..", true},
	} {
		if got, certain := lexical(test.home, test.name); got != test.want || certain != test.certain {
			t.Errorf("%q in %q: got %q, %v", test.name, test.home, got, certain)
		}
	}
}

func TestDigestIsTheFilesOnlyWhenAllWentInOrder(t *testing.T) {
	f := &file{}
	f.note(&f.wrote, 0, []byte("ab"))
	f.note(&f.wrote, 2, []byte("c"))
	if got := f.summary(); got != "wrote 3 bytes, sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("got %q", got)
	}
	f.note(&f.wrote, 9, []byte("c"))
	if got := f.summary(); !strings.HasSuffix(got, "out of order") {
		t.Errorf("got %q", got)
	}
}

func FuzzFileMessages(f *testing.F) {
	f.Add(sftpMessage(sftpOpen, 7, "/a", flagRead, 0))
	f.Add(sftpMessage(sftpExtended, 7, "copy-data", "h", uint64(1), uint64(2), "i", uint64(3)))
	f.Add(sftpMessage(sftpName, 7, 1, "/a", "long", 0))
	f.Fuzz(func(t *testing.T, message []byte) {
		if r, err := parseFileRequest(message); err == nil && len(r.path)+len(r.newPath)+len(r.handle)+len(r.data) > len(message) {
			t.Errorf("%x: more was read than is there", message)
		}
		if r, err := parseFileReply(message); err == nil && len(r.handle)+len(r.data)+len(r.name) > len(message) {
			t.Errorf("%x: more was read than is there", message)
		}
	})
}
