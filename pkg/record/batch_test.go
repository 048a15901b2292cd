package record_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/sluicegate/sluice/pkg/record"
)

func batch() record.Batch {
	return record.Batch{
		Cluster: "c1", Agent: "node-1", BatchID: record.BatchID{Epoch: record.Epoch{1, 2}, Seq: 5}, PrevEpoch: record.Epoch{9},
		Reason: record.Recover, Prev: record.Hash{1}, First: 10, Count: 3, Root: record.Hash{2}, Payload: record.Hash{3}, PayloadLen: 99,
		From: 1, To: 2, Clock: record.Synced, Drops: 1, Seen: record.Seen{Origin: "log.example/x", Size: 4, Root: record.Hash{4}},
	}
}

func TestBatchReadsBackAsItWas(t *testing.T) {
	first := record.Batch{Cluster: "c", Agent: "a", Reason: record.Boot, Clock: record.Unsynced, Seal: true}
	first.Epoch[0] = 1
	for _, want := range []record.Batch{batch(), first} {
		got, err := record.ParseBatch(want.Text())
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestBatchHasOneText(t *testing.T) {
	good := string(ptr(batch()).Text())
	cases := map[string][2]string{
		"number with zero":       {"seq 5", "seq 05"},
		"number with sign":       {"seq 5", "seq +5"},
		"negative count":         {"records 10 3", "records 10 -3"},
		"too many records":       {"records 10 3", "records 10 99999"},
		"numbers overflow":       {"records 10 3", "records 18446744073709551615 3"},
		"two spaces":             {"seq 5", "seq  5"},
		"upper case hex":         {"epoch 0102", "epoch 0102A"},
		"no epoch":               {"epoch 01020000000000000000000000000000", "epoch -"},
		"unknown reason":         {"recover", "because"},
		"unknown flag":           {"flags open", "flags ajar"},
		"unknown clock":          {" synced", " late"},
		"bad base64":             {"root AgAA", "root Ag=A"},
		"base64 with stray bits": {"AAAA=\npayload", "AAAB=\npayload"},
		"a line more":            {"flags open\n", "flags open\nx\n"},
		"a line less":            {"drops 1\n", ""},
		"no newline":             {"flags open\n", "flags open"},
		"lines exchanged":        {"seq 5\nprev", "prev 5\nseq"},
		"another title":          {"batch/2", "batch/1"},
		"agent with a dot":       {"c1/node-1", "c1/node.1"},
		"agent with a slash":     {"c1/node-1", "c1/node/1"},
		"no cluster":             {"c1/node-1", "/node-1"},
		"payload too large":      {" 99\n", " 99999999\n"},
		"carriage return":        {"seq 5\n", "seq 5\r\n"},
	}
	for name, c := range cases {
		altered := strings.Replace(good, c[0], c[1], 1)
		if altered == good {
			t.Errorf("%s: the case changes nothing", name)
		}
		if b, err := record.ParseBatch([]byte(altered)); err == nil {
			t.Errorf("%s: read as %+v", name, b)
		}
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add(ptr(batch()).Text())
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := record.ParseBatch(data)
		if err == nil && !bytes.Equal(b.Text(), data) {
			t.Errorf("%q reads as a batch whose text is %q", data, b.Text())
		}
	})
}

func TestLeafIsWhatTheFormatSays(t *testing.T) {
	e := record.Entry{No: 258, Header: []byte("header"), Body: []byte("body"), Salt: record.Salt{1}}
	prefixed := func(first byte, rest ...[]byte) []byte {
		data := binary.BigEndian.AppendUint64(append([]byte{first}, "ev2"...), 258)
		return append(data, bytes.Join(rest, nil)...)
	}
	body := sha256.Sum256(prefixed(2, e.Salt[:], e.Body))
	if want := record.Hash(sha256.Sum256(prefixed(0, body[:], e.Header))); e.Leaf() != want {
		t.Errorf("got %s, want %s", e.Leaf(), want)
	}
}

// reference is RFC 6962 §2.1, word for word.
func reference(leaves []record.Hash) record.Hash {
	switch len(leaves) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	left, right := reference(leaves[:k]), reference(leaves[k:])
	return sha256.Sum256(append(append([]byte{1}, left[:]...), right[:]...))
}

func TestRootIsRFC6962s(t *testing.T) {
	var leaves []record.Hash
	for n := range 70 {
		if got, want := record.Root(slices.Clone(leaves)), reference(leaves); got != want {
			t.Errorf("%d leaves: got %s, want %s", n, got, want)
		}
		leaves = append(leaves, record.Hash{byte(n), 1})
	}
}

func TestSaltsDifferEverywhere(t *testing.T) {
	seen := map[record.Salt]bool{}
	for _, secret := range [][32]byte{{1}, {2}} {
		s := record.NewSalter(secret)
		for no := range uint64(100) {
			salt := s.Salt(no)
			if seen[salt] {
				t.Fatalf("salt of record %d is there twice", no)
			}
			seen[salt] = true
		}
	}
}

func entries(n int) []record.Entry {
	all := make([]record.Entry, n)
	for i := range all {
		all[i] = record.Entry{No: uint64(i), Header: []byte(strings.Repeat("h", i+1)), Body: []byte(strings.Repeat("b", i)), Salt: record.Salt{byte(i)}}
	}
	return all
}

func TestPayloadReadsBackAsItWas(t *testing.T) {
	var p record.Packer
	for _, n := range []int{0, 1, 100} {
		want := entries(n)
		payload, err := p.Pack(want)
		must(t, err)
		got, err := record.Unpack(payload)
		must(t, err)
		if len(got) != n {
			t.Fatalf("got %d entries of %d", len(got), n)
		}
		for i := range got {
			if got[i].Leaf() != want[i].Leaf() || got[i].No != want[i].No {
				t.Errorf("entry %d differs", i)
			}
		}
	}
}

func TestHostilePayloadsAreRefused(t *testing.T) {
	var p record.Packer
	if _, err := p.Pack([]record.Entry{{Body: make([]byte, record.MaxFrames)}}); err == nil {
		t.Error("a payload over the limit was packed")
	}
	good, err := p.Pack(entries(5))
	must(t, err)
	for name, payload := range map[string][]byte{
		"cut": good[:len(good)-1], "too long": make([]byte, record.MaxPayload+1), "another length": bytes.Replace(good, good[12+5*16:12+5*16+1], []byte{1}, 1), "hello": []byte("hello"), "something after": append(slices.Clone(good), 1),
	} {
		if _, err := record.Unpack(payload); err == nil {
			t.Errorf("%s was unpacked", name)
		}
	}
	var bombs errgroup.Group
	for range 4 {
		bombs.Go(func() error {
			if _, err := record.Unpack(bomb()); err == nil {
				return errors.New("a payload that grows over the limit was unpacked")
			}
			return nil
		})
	}
	must(t, bombs.Wait())
}
