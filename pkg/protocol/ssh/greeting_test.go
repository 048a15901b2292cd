package ssh

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// proposalOf is a client's first packet with these ciphers.
func proposalOf(toUs, fromUs string) string {
	packet := append([]byte{4, proposal}, make([]byte, 16)...)
	for _, list := range []string{"curve25519-sha256", "ssh-ed25519", toUs, fromUs, "hmac-sha2-256", "hmac-sha2-256", "none", "none"} {
		packet = appendText(packet, list)
	}
	packet = append(packet, make([]byte, 5+4)...)
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(packet)))) + string(packet)
}

func TestWhatHasAuthenticatedCiphersIsOfferedNoOther(t *testing.T) {
	const gcm, ctr = "aes128-ctr,aes128-gcm@openssh.com", "aes128-ctr,aes256-ctr"
	for _, test := range []struct {
		name, says string
		only       bool
	}{
		{"OpenSSH", "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" + proposalOf(gcm, gcm), true},
		{"one that was told otherwise", "SSH-2.0-OpenSSH_9.2p1\r\n" + proposalOf(ctr, ctr), false},
		{"in one direction", "SSH-2.0-OpenSSH_9.2p1\r\n" + proposalOf(gcm, ctr), false},
		{"one of each", "SSH-2.0-OpenSSH_9.2p1\r\n" + proposalOf("aes128-gcm@openssh.com", "aes256-gcm@openssh.com"), false},
		{"another client, which may wait", "SSH-2.0-paramiko_2.12\r\n", false},
		{"no end of the line", "SSH-2.0-OpenSSH_" + strings.Repeat("x", 300), false},
		{"nothing after it", "SSH-2.0-OpenSSH_9.2p1\r\n", false},
		{"another packet", "SSH-2.0-OpenSSH_9.2p1\r\n" + strings.Replace(proposalOf(gcm, gcm), "\x04\x14", "\x04\x15", 1), false},
		{"one that is cut", "SSH-2.0-OpenSSH_9.2p1\r\n" + proposalOf(gcm, gcm)[:60], false},
		{"one that is too long", "SSH-2.0-OpenSSH_9.2p1\r\n\xff\xff\xff\xff" + proposalOf(gcm, gcm), false},
		{"a list that is longer than its packet", "SSH-2.0-OpenSSH_9.2p1\r\n\x00\x00\x00\x16\x04\x14" + strings.Repeat("\x00", 16) + "\x00\x00\x00\xff", false},
		{"another protocol", "GET / HTTP/1.1\r\n", false},
		{"nothing", "", false},
	} {
		for how, from := range map[string]io.Reader{"at once": strings.NewReader(test.says), "byte by byte": iotest.OneByteReader(strings.NewReader(test.says))} {
			in := bufio.NewReaderSize(from, readAhead)
			if only := slices.Equal(offered(in), authenticated); only != test.only {
				t.Errorf("%s, %s: only those are offered: %v", test.name, how, only)
			}
			if rest, err := io.ReadAll(in); err != nil || string(rest) != test.says {
				t.Errorf("%s, %s: %q is left, %v", test.name, how, rest, err)
			}
		}
	}
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte("SSH-2.0-OpenSSH_9.2p1\r\n" + proposalOf("aes128-gcm@openssh.com", "aes128-gcm@openssh.com")))
	f.Fuzz(func(t *testing.T, says []byte) {
		in := bufio.NewReaderSize(bytes.NewReader(says), readAhead)
		if len(offered(in)) == 0 {
			t.Error("nothing is offered")
		}
		if rest, _ := io.ReadAll(in); !bytes.Equal(rest, says) {
			t.Errorf("%q became %q", says, rest)
		}
	})
}
