package kubernetes_test

import (
	"bytes"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/moby/spdystream/spdy"

	"github.com/sluicegate/sluice/pkg/protocol/kubernetes"
)

// said is what a peer says from its first stream to its last word, with so much
// on one of them.
func said(f kubernetes.Framing, much int) (b []byte) {
	b = f.Open(b, 1, map[string]string{"streamtype": "error"})
	b = f.Open(b, 3, map[string]string{"streamtype": "data", "port": "80"})
	b = f.Chunk(b, 3, "hello")
	b = f.Ping(b)
	b = f.Chunk(b, 1, strings.Repeat("long ", much))
	b = f.End(b, 3)
	b = f.Reset(b, 1)
	return f.Bye(b)
}

func TestStreamsAreReadInAnyPieces(t *testing.T) {
	for kind, want := range map[string]string{
		"spdy":   "opened 1 map[streamtype:error]; opened 3 map[port:80 streamtype:data]; came 3 hello; pinged; came 1; ended 3; reset 1",
		"tunnel": "opened 1 map[streamtype:error]; opened 3 map[port:80 streamtype:data]; came 3 hello; pinged; came 1; ended 3; reset 1; left",
		"v5":     "came 3 hello; pinged; came 1; ended 3; ended 1; left",
		"v4":     "came 3 hello; pinged; came 1; left",
	} {
		text := said(kubernetes.NewFraming(kind, true), 30000)
		for _, size := range []int{len(text), 32 << 10, 7, 3, 2, 1} {
			got, err := kubernetes.NewFraming(kind, false).Read(text, size)
			if err != nil {
				t.Fatalf("%s by %d: %v", kind, size, err)
			}
			for i, happened := range got {
				if strings.HasPrefix(happened, "came 1 ") && len(happened) != len("came 1 ")+150000 {
					t.Errorf("%s by %d: %d bytes came", kind, size, len(happened))
				}
				if !strings.Contains(want, strings.TrimSpace(happened)) {
					got[i], _, _ = strings.Cut(happened, " ")
					if strings.HasPrefix(happened, "came 1 ") {
						got[i] = "came 1"
					}
				}
				got[i] = strings.TrimSpace(strings.TrimSuffix(got[i], " 0 "))
			}
			if joined := strings.Join(got, "; "); joined != want {
				t.Errorf("%s by %d:\n%s\n%s", kind, size, joined, want)
			}
		}
	}
}

// TestStreamsAreThoseOfAnotherImplementation speaks with the one that Kubernetes
// uses, in both directions.
func TestStreamsAreThoseOfAnotherImplementation(t *testing.T) {
	var theirs bytes.Buffer
	framer, err := spdy.NewFramer(&theirs, &theirs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		frame := &spdy.SynStreamFrame{StreamId: spdy.StreamId(2*i + 1), Headers: http.Header{
			"Streamtype": {"data"}, "Port": {"8080"}, "Requestid": {strings.Repeat("7", i)},
		}}
		if err := framer.WriteFrame(frame); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []int{1 << 20, 1} {
		got, err := kubernetes.NewFraming("spdy", false).Read(theirs.Bytes(), size)
		if err != nil || len(got) != 20 || got[2] != "opened 5 map[port:8080 requestid:77 streamtype:data]" {
			t.Fatalf("%v: %v", err, got)
		}
	}

	ours := kubernetes.NewFraming("spdy", true)
	theirs.Reset()
	var text []byte
	for i := range uint32(20) {
		text = ours.Open(text, 2*i+1, map[string]string{"streamtype": "stdin", "port": "1"})
	}
	text = ours.End(ours.Chunk(text, 1, "hello"), 1)
	theirs.Write(text)
	for i := range 20 {
		frame, err := framer.ReadFrame()
		opened, ok := frame.(*spdy.SynStreamFrame)
		if err != nil || !ok || int(opened.StreamId) != 2*i+1 || opened.Headers.Get("streamtype") != "stdin" {
			t.Fatalf("stream %d: %v, %+v", i, err, frame)
		}
	}
	frame, err := framer.ReadFrame()
	if data, ok := frame.(*spdy.DataFrame); err != nil || !ok || string(data.Data) != "hello" {
		t.Fatalf("%v, %+v", err, frame)
	}
	answers := kubernetes.NewFraming("spdy", false)
	second, _ := spdy.NewFramer(&bytes.Buffer{}, bytes.NewReader(answers.Accept(answers.Accept(nil, 1), 3)))
	for range 2 {
		if frame, err := second.ReadFrame(); err != nil {
			t.Fatalf("%v, %+v", err, frame)
		}
	}
}

// ws is a frame of WebSocket from a client, with its first byte as it is.
func ws(first byte, payload string) []byte {
	b := []byte{first, 0x80 | byte(len(payload)), 1, 2, 3, 4}
	for i := range payload {
		b = append(b, payload[i]^b[2+i&3])
	}
	return b
}

func spdyFrame(kind uint16, flags byte, payload ...byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{0x80, 3}, kind)
	b = binary.BigEndian.AppendUint32(b, uint32(flags)<<24|uint32(len(payload)))
	return append(b, payload...)
}

func TestWhatBreaksTheProtocolIsSaid(t *testing.T) {
	opened := kubernetes.NewFraming("spdy", true).Open(nil, 1, map[string]string{"a": "b"})
	stream := func(number byte) []byte { return spdyFrame(1, 0, 0, 0, 0, number, 0, 0, 0, 0, 0, 0) }
	for name, attack := range map[string]struct {
		kind string
		text []byte
	}{
		"a bit of an extension":         {"v5", ws(0xc2, "x")},
		"an unmasked frame":             {"v5", []byte{0x82, 1, 'x'}},
		"a fragmented ping":             {"v5", ws(0x09, "x")},
		"a long ping":                   {"v5", append([]byte{0x89, 0x80 | 126, 0, 200}, make([]byte, 204)...)},
		"an unknown opcode":             {"v5", ws(0x83, "x")},
		"an unknown control":            {"v5", ws(0x8b, "x")},
		"a continuation of nothing":     {"v5", ws(0x80, "x")},
		"a message in a message":        {"v5", append(ws(0x02, "\x00x"), ws(0x82, "\x00y")...)},
		"a length that is too long":     {"v5", []byte{0x82, 0x80 | 126, 0, 5, 1, 2, 3, 4}},
		"a length that is far too long": {"v5", []byte{0x82, 0x80 | 127, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}},
		"a length of zero in 64 bits":   {"v5", []byte{0x82, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}},
		"a close of one byte":           {"v5", ws(0x88, "x")},
		"a close of no known code":      {"v5", ws(0x88, "\x03\xed")}, // 1005
		"a close that is no text":       {"v5", ws(0x88, "\x03\xe8\xff")},
		"more after the close":          {"v5", append(ws(0x88, ""), ws(0x82, "\x00x")...)},
		"a channel out of range":        {"v5", ws(0x82, "\x05x")},
		"the end of no channel":         {"v5", ws(0x82, "\xff\x07")},
		"an end that v4 does not have":  {"v4", ws(0x82, "\xff\x00")},
		"more on an ended channel":      {"v5", append(ws(0x82, "\xff\x00"), ws(0x82, "\x00x")...)},
		"another version of SPDY":       {"spdy", []byte{0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1}},
		"HTTP in place of SPDY":         {"spdy", []byte("GET / HTTP/1.1\r\n\r\n")},
		"WebSocket in place of SPDY":    {"spdy", ws(0x82, "\x00x")},
		"SPDY in place of WebSocket":    {"v5", opened},
		"an unknown control frame":      {"spdy", spdyFrame(11, 0, 0, 0, 0, 0)},
		"HEADERS":                       {"spdy", spdyFrame(8, 0, 0, 0, 0, 1, 0, 0, 0, 0)},
		"a control frame too long":      {"spdy", []byte{0x80, 3, 0, 4, 0, 0xff, 0xff, 0xff}},
		"a ping that is too short":      {"spdy", spdyFrame(6, 0, 1)},
		"an even stream":                {"spdy", stream(2)},
		"a stream that belongs to one":  {"spdy", spdyFrame(1, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0)},
		"a stream of one direction":     {"spdy", spdyFrame(1, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0)},
		"a stream twice":                {"spdy", append(slices.Clone(opened), opened...)},
		"fields that are no zlib":       {"spdy", append(spdyFrame(1, 0), stream(1)...)},
		"data of no stream":             {"spdy", []byte{0, 0, 0, 1, 0, 0, 0, 1, 'x'}},
		"data of stream zero":           {"spdy", []byte{0, 0, 0, 0, 0, 0, 0, 1, 'x'}},
		"data with unknown flags":       {"spdy", append(slices.Clone(opened), 0, 0, 0, 1, 2, 0, 0, 0)},
		"the reset of no stream":        {"spdy", spdyFrame(3, 0, 0, 0, 0, 9, 0, 0, 0, 5)},
		"an answer to nothing":          {"spdy", spdyFrame(2, 0, 0, 0, 0, 1, 0, 0, 0, 0)},
	} {
		for _, size := range []int{1 << 20, 1} {
			if got, err := kubernetes.NewFraming(attack.kind, false).Read(attack.text, size); err == nil {
				t.Errorf("%s by %d passed: %q", name, size, got)
			}
		}
	}
}

// TestServerOpensNoStreams reads what a server must not say.
func TestServerOpensNoStreams(t *testing.T) {
	text := kubernetes.NewFraming("spdy", true).Open(nil, 2, map[string]string{"streamtype": "stdin"})
	if got, err := kubernetes.NewFraming("spdy", true).Read(text, 1); err == nil {
		t.Errorf("it passed: %q", got)
	}
}

// TestFieldsThatGrowAreRefused compresses what would take much memory.
func TestFieldsThatGrowAreRefused(t *testing.T) {
	many := http.Header{}
	for i := range 100 {
		many[strings.Repeat("a", i+1)] = []string{"x"}
	}
	for name, fields := range map[string]http.Header{
		"long value": {"streamtype": {strings.Repeat("a", 8<<20)}}, "long name": {strings.Repeat("a", 1<<20): {"x"}}, "many": many,
		"two values": {"streamtype": {"stdin", "stdout"}},
	} {
		var text bytes.Buffer
		framer, err := spdy.NewFramer(&text, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := framer.WriteFrame(&spdy.SynStreamFrame{StreamId: 1, Headers: fields}); err != nil {
			t.Fatal(err)
		}
		if got, err := kubernetes.NewFraming("spdy", false).Read(text.Bytes(), 1<<20); err == nil {
			t.Errorf("%s passed: %d", name, len(got))
		}
	}
}

// FuzzStreams reads hostile bytes, which must mean the same in any pieces.
func FuzzStreams(f *testing.F) {
	kinds := []string{"spdy", "tunnel", "v4", "v5"}
	for i, kind := range kinds {
		f.Add(byte(i), said(kubernetes.NewFraming(kind, true), 30), uint8(3))
		f.Add(byte(i+4), kubernetes.NewFraming(kind, false).Chunk(nil, 1, "x"), uint8(1))
	}
	f.Fuzz(func(t *testing.T, which byte, text []byte, size uint8) {
		kind, client := kinds[which%4], which&4 != 0
		whole, wrong := kubernetes.NewFraming(kind, client).Read(text, len(text)+1)
		pieces, same := kubernetes.NewFraming(kind, client).Read(text, int(size)+1)
		if (wrong == nil) != (same == nil) || strings.Join(whole, "\n") != strings.Join(pieces, "\n") {
			t.Errorf("%q, %v\n%q, %v", whole, wrong, pieces, same)
		}
	})
}
