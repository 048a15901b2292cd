package ssh

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/shelltext"
)

// ofAB is the digest of "ab".
const ofAB = "sha256:fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603"

func TestFilesOfOldSCP(t *testing.T) {
	for _, test := range []struct{ stream, want string }{
		{"C0644 2 a\nab\x00", "wrote a: 2 bytes, " + ofAB},
		{"T1 0 2 0\nC0644 2 a b\nab\x00", "wrote a b: 2 bytes, " + ofAB},
		{"D0755 0 d\nD0755 0 e\nC0644 2 a\nab\x00E\nE\nC0644 2 b\nab\x00", "wrote d/e/a: 2 bytes, " + ofAB + "; wrote b: 2 bytes, " + ofAB},
		{"C0644 0 a\n\x00", "wrote a: 0 bytes, sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"C0644 2 a\nab\x01no more\nC0644 2 b\nab\x00", "wrote a: 2 bytes, " + ofAB + ", with an error; wrote b: 2 bytes, " + ofAB},
		{"\x01no such file\n", ""},
		{"C0644 4 a\nab", "wrote a part of a"},
		{"C0644 2 ../a\x1b[2J\nab\x00", "wrote ../a[2J: 2 bytes, " + ofAB},
		{"C0644 -1 a\nab\x00", "then something else than scp's protocol"},
		{"C0644 99999999999999999999 a\n", "then something else than scp's protocol"},
		{"rm -rf /\n", "then something else than scp's protocol"},
		{"\n", "then something else than scp's protocol"},
		{"C" + strings.Repeat("x", 2<<10), "then something else than scp's protocol"},
		{strings.Repeat("D0755 0 d\n", 100), "then something else than scp's protocol"},
	} {
		whole, bytewise := &copied{stream: protocol.Input, verb: "wrote"}, &copied{stream: protocol.Input, verb: "wrote"}
		whole.pass(protocol.Input, []byte(test.stream))
		whole.pass(protocol.Response, []byte("C0644 2 other\nab\x00"))
		for i := range test.stream {
			bytewise.pass(protocol.Input, []byte{test.stream[i]})
		}
		for how, c := range map[string]*copied{"at once": whole, "byte by byte": bytewise} {
			if got := c.summary(); got != test.want {
				t.Errorf("%.60q, %s: got %q, want %q", test.stream, how, got, test.want)
			}
		}
	}
}

func TestManyFilesOfOldSCPFitARecord(t *testing.T) {
	c := &copied{stream: protocol.Input, verb: "wrote"}
	name := strings.Repeat("ö", 400)
	c.pass(protocol.Input, []byte(strings.Repeat("D0755 0 "+name+"\n", maxCopyDepth-1)+strings.Repeat("C0644 2 "+name+"\nab\x00", 1000)))
	if got := c.summary(); len(got) > 32<<10 || !strings.HasSuffix(got, "; 936 files more") {
		t.Errorf("%d bytes: …%s", len(got), got[max(0, len(got)-40):])
	}
}

func TestOldSCPIsRecognised(t *testing.T) {
	for line, want := range map[string]protocol.Stream{
		"scp -t /srv": protocol.Input, "/usr/bin/scp -r -p -t -- /srv": protocol.Input, "scp -v -rf /srv": protocol.Response,
		"scp /a -t": "", "scp -- -t": "", "rsync -t a": "", "scp -t /srv; id": "", "scp -t $HOME": "",
	} {
		op := operation.Operation{Kind: operation.Exec, SSH: &operation.SSH{}}
		op.SSH.Commands, op.Parsed = shelltext.Read(line)
		var got protocol.Stream
		if c := copiedBy(&op); c != nil {
			got = c.stream
		}
		if got != want {
			t.Errorf("%s: its files are in %q", line, got)
		}
	}
}

func FuzzCopied(f *testing.F) {
	f.Add("D0755 0 d\nC0644 2 a\nab\x00E\n")
	f.Fuzz(func(t *testing.T, stream string) {
		c := &copied{stream: protocol.Input, verb: "wrote"}
		c.pass(protocol.Input, []byte(stream))
		if got := c.summary(); len(got) > 64<<10 {
			t.Errorf("%d bytes", len(got))
		}
	})
}
