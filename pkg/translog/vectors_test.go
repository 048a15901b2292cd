package translog_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

var update = flag.Bool("update", false, "write the vectors and the example of docs/audit-format anew")

const formatDir = "../../docs/audit-format"

// seeded returns a key pair that is the same each time.
func seeded(t *testing.T, name string, seed byte) signer {
	t.Helper()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
	public := append([]byte{1}, private.Public().(ed25519.PublicKey)...)
	id := sha256.Sum256(append([]byte(name+"\n"), public...))
	key := func(raw []byte) string {
		return fmt.Sprintf("%s+%x+%s", name, id[:4], base64.StdEncoding.EncodeToString(raw))
	}
	s, err := translog.NewSigner("PRIVATE+KEY+" + key(append([]byte{1}, private.Seed()...)))
	must(t, err)
	v, err := translog.NewVerifier(key(public))
	must(t, err)
	return signer{s, key(public), v}
}

// exampleWorld is newSmallWorld with keys that are the same each time.
func exampleWorld(t *testing.T) *world {
	t.Helper()
	w := &world{log: seeded(t, origin, 1), one: newAgent(t, "one"), two: newAgent(t, "two"), scope: translog.Scope{Kind: translog.WholeLog}}
	w.at = time.UnixMilli(1_700_000_000_000)
	w.one.signer, w.two.signer = seeded(t, "c1/one", 2), seeded(t, "c1/two", 3)
	w.twoKey = w.two.public
	w.fill(t)
	return w
}

// vectors are what docs/audit-format.md computes, each with what it is of.
type vectors struct {
	Records    []recordVector  `json:"records"`
	Roots      []record.Hash   `json:"roots"` // of the first 0, 1, … of the records' leaves
	Notes      []string        `json:"notes"` // signed, of the example
	NoteHashes []record.Hash   `json:"note_hashes"`
	LogLeaves  []translog.Hash `json:"log_leaves"`
	LogRoots   []translog.Hash `json:"log_roots"` // of the first 1, 2, …
}

type recordVector struct {
	No     uint64      `json:"no"`
	Salt   []byte      `json:"salt"`
	Header string      `json:"header"`
	Body   string      `json:"body"`
	Hash   record.Hash `json:"h_body"`
	Leaf   record.Hash `json:"leaf"`
}

func makeVectors(t *testing.T, w *world) vectors {
	t.Helper()
	v := vectors{Roots: []record.Hash{record.Root(nil)}}
	var leaves []record.Hash
	for i, data := range []string{"", "{}", `{"text":"SELECT 1"}`, "é", "\n"} {
		salt := record.Salt{byte(i), 1: 0xff, 15: 0x80}
		r := recordVector{No: uint64(i) << 33, Salt: salt[:], Header: strings.Repeat("{}", 40*i), Body: data}
		r.Hash = record.CommitBody(r.No, salt, []byte(data))
		r.Leaf = record.Leaf(r.No, r.Hash, []byte(r.Header))
		v.Records, leaves = append(v.Records, r), append(leaves, r.Leaf)
		v.Roots = append(v.Roots, record.Root(leaves))
	}
	for i, b := range w.batches {
		v.Notes = append(v.Notes, string(b.Note))
		v.NoteHashes = append(v.NoteHashes, record.NoteHash(b.Note))
		v.LogLeaves = append(v.LogLeaves, translog.LeafHash(b.Note))
		root, err := translog.Root(int64(i)+1, &w.nodes)
		must(t, err)
		v.LogRoots = append(v.LogRoots, root)
	}
	return v
}

// TestVectorsHold compares what this package computes with what the document's
// readers are told to expect.
func TestVectorsHold(t *testing.T) {
	w := exampleWorld(t)
	made, err := json.MarshalIndent(makeVectors(t, w), "", "  ")
	must(t, err)
	sameFile(t, "vectors.json", append(made, '\n'))
}

// TestExampleHolds compares the example bundle with what would be exported now,
// and has both verifiers check what is committed.
func TestExampleHolds(t *testing.T) {
	w := exampleWorld(t)
	trust, err := json.MarshalIndent(w.trust(), "", "  ")
	must(t, err)
	sameFile(t, "example/trust.json", append(trust, '\n'))
	for name, file := range w.bundle(t) {
		sameFile(t, filepath.Join("example/bundle", name), file.Data)
	}
	report, err := translog.Verify(os.DirFS(filepath.Join(formatDir, "example/bundle")), w.trust())
	must(t, err)
	if !report.OK() || report.Shredded != 1 {
		t.Errorf("%+v", report)
	}
	arguments := []string{filepath.Join(formatDir, "example/trust.json"), filepath.Join(formatDir, "example/bundle")}
	if a := second(t, [][]string{arguments}); a[0].status != 0 {
		t.Errorf("the second verifier says %v", a)
	}
}

func sameFile(t *testing.T, name string, want []byte) {
	t.Helper()
	path := filepath.Join(formatDir, name)
	if *update {
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, want, 0o644))
	}
	got, err := os.ReadFile(path)
	must(t, err)
	if !slices.Equal(got, want) {
		t.Errorf("%s is not what the package makes (go test -update):\n%s", name, cmp.Diff(string(want), string(got)))
	}
}
