package translog_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sluicegate/sluice/pkg/translog"
)

// witness co-signs as C2SP tlog-cosignature says, whatever it is given.
type witness struct {
	name string
	key  ed25519.PrivateKey
}

func newWitness(t testing.TB, name string) *witness {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	return &witness{name, key}
}

func (w *witness) public() []byte { return append([]byte{4}, w.key.Public().(ed25519.PublicKey)...) }

func (w *witness) id() []byte {
	sum := sha256.Sum256(append([]byte(w.name+"\n"), w.public()...))
	return sum[:4]
}

func (w *witness) vkey() string {
	return fmt.Sprintf("%s+%x+%s", w.name, w.id(), base64.StdEncoding.EncodeToString(w.public()))
}

// line is the witness's signature line for a signed checkpoint.
func (w *witness) line(signed []byte, at uint64) []byte {
	text, _, _ := bytes.Cut(signed, []byte("\n\n"))
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s\n", at, text)
	raw := binary.BigEndian.AppendUint64(w.id(), at)
	raw = append(raw, ed25519.Sign(w.key, message)...)
	return fmt.Appendf(nil, "— %s %s\n", w.name, base64.StdEncoding.EncodeToString(raw))
}

// cosign puts what witnesses saw when the log had size leaves into a bundle.
func (w *world) cosign(t testing.TB, files fstest.MapFS, size int64, by ...*witness) {
	t.Helper()
	root, err := translog.Root(size, &w.nodes)
	must(t, err)
	signed, err := translog.SignCheckpoint(size, root, w.log.Signer)
	must(t, err)
	whole := slices.Clone(signed)
	for _, one := range by {
		whole = append(whole, one.line(signed, 1_700_000_000)...)
	}
	files["cosigned"] = &fstest.MapFile{Data: whole, Mode: 0o600}
	var lines string
	if size < int64(len(w.batches)) {
		proof, err := translog.ProveConsistency(size, int64(len(w.batches)), &w.nodes)
		must(t, err)
		for _, h := range proof {
			lines += h.String() + "\n"
		}
	}
	files["cosigned.proof"] = &fstest.MapFile{Data: []byte(lines), Mode: 0o600}
}

func TestWitnessesAreWantedAndBelievedByTheirPinnedKeys(t *testing.T) {
	ada, bob, eve := newWitness(t, "ada.example"), newWitness(t, "bob.example"), newWitness(t, "eve.example")
	impostor := newWitness(t, "ada.example")
	for _, test := range []struct {
		name   string
		tamper func(w *world, files fstest.MapFS)
		quorum int
		want   []translog.Code
	}{
		{name: "both, at the end", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, ada, bob) }},
		{name: "both, earlier", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 5, bob, ada) }},
		{name: "one of two wanted", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, ada) }, want: []translog.Code{translog.WitnessMissing}},
		{name: "one wanted", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, ada) }, quorum: 1},
		{name: "the same twice", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, ada, ada) }, want: []translog.Code{translog.WitnessMissing}},
		{name: "none", tamper: func(*world, fstest.MapFS) {}, want: []translog.Code{translog.WitnessMissing}},
		{name: "a stranger beside them", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, eve, ada, bob) }},
		{name: "a stranger instead", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, eve, ada) }, want: []translog.Code{translog.WitnessMissing}},
		{name: "somebody of her name", tamper: func(w *world, f fstest.MapFS) { w.cosign(t, f, 8, impostor, bob) }, want: []translog.Code{translog.WitnessMissing}},
		{name: "another checkpoint than they signed", tamper: func(w *world, f fstest.MapFS) {
			w.cosign(t, f, 8, ada, bob)
			lines := f["cosigned"].Data
			w.cosign(t, f, 5)
			f["cosigned"].Data = append(f["cosigned"].Data, lines[bytes.Index(lines, []byte("— ada")):]...)
		}, want: []translog.Code{translog.CheckpointSignature}},
		{name: "not the log's", tamper: func(w *world, f fstest.MapFS) {
			own := w.log
			w.log = newSigner(t, origin)
			w.cosign(t, f, 8, ada, bob)
			w.log = own
		}, want: []translog.Code{translog.CheckpointSignature}},
		{name: "more leaves than the log has", tamper: func(w *world, f fstest.MapFS) {
			longer := *w
			longer.add(w.one.batch(t, nil))
			longer.cosign(t, f, 9, ada, bob)
		}, want: []translog.Code{translog.LogRolledBack}},
		{name: "other leaves", tamper: func(w *world, f fstest.MapFS) {
			other := newWorld(t)
			other.log = w.log
			other.cosign(t, f, 5, ada, bob)
		}, want: []translog.Code{translog.SplitView}},
		{name: "other leaves, as many", tamper: func(w *world, f fstest.MapFS) {
			other := newWorld(t)
			other.log = w.log
			other.cosign(t, f, 8, ada, bob)
		}, want: []translog.Code{translog.SplitView}},
		{name: "no proof", tamper: func(w *world, f fstest.MapFS) {
			w.cosign(t, f, 5, ada, bob)
			delete(f, "cosigned.proof")
		}, want: []translog.Code{translog.BundleMalformed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			files := w.bundle(t)
			test.tamper(w, files)
			trust := w.trust()
			trust.Witnesses, trust.Quorum = []string{ada.vkey(), bob.vkey()}, test.quorum
			report, err := translog.Verify(files, trust)
			must(t, err)
			var got []translog.Code
			for _, f := range report.Findings {
				got = append(got, f.Code)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("found %v, want %v", report.Findings, test.want)
			}
			if test.want == nil && (report.Witnessed == nil || report.Witnessed.By[0].At.Unix() != 1_700_000_000) {
				t.Errorf("the report says %+v", report.Witnessed)
			}
		})
	}
}

// TestEveryBitOfACosignatureCounts flips each bit of what witnesses saw: a
// pinned witness's line or the log's cannot be changed unnoticed.
func TestEveryBitOfACosignatureCounts(t *testing.T) {
	ada := newWitness(t, "ada.example")
	w := newWorld(t)
	files := w.bundle(t)
	w.cosign(t, files, 5, ada)
	trust := w.trust()
	trust.Witnesses = []string{ada.vkey()}
	for _, name := range []string{"cosigned", "cosigned.proof"} {
		data := files[name].Data
		for bit := range len(data) * 8 {
			data[bit/8] ^= 1 << (bit % 8)
			if report, err := translog.Verify(files, trust); err == nil && report.OK() {
				t.Errorf("bit %d of %s was changed unnoticed", bit, name)
			}
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func TestBundleHoldsWhatWitnessesSawAndItsProof(t *testing.T) {
	ada := newWitness(t, "ada.example")
	for _, scope := range []translog.Scope{{Kind: translog.WholeLog}, {Kind: translog.Range, First: 6}, {Kind: translog.OneSession, Session: session1}} {
		w := newWorld(t)
		w.scope = scope
		scratch := fstest.MapFS{}
		w.cosign(t, scratch, 5, ada)
		w.cosigned, w.cosignedSize = scratch["cosigned"].Data, 5
		trust := w.trust()
		trust.Witnesses = []string{ada.vkey()}
		report, err := translog.Verify(w.bundle(t), trust)
		must(t, err)
		if !report.OK() || report.Witnessed == nil || report.Witnessed.Size != 5 {
			t.Errorf("%s: %v, witnessed %+v", scope.Kind, report.Findings, report.Witnessed)
		}
	}
}

func TestKeyOfAWitnessHasOneForm(t *testing.T) {
	good := newWitness(t, "ada.example").vkey()
	if _, err := translog.NewWitness(good); err != nil {
		t.Error(err)
	}
	agent := newSigner(t, "ada.example")
	for _, bad := range []string{"", "ada.example", strings.Replace(good, "ada", "bob", 1), good + "A", agent.public, strings.Replace(good, "+", "++", 1)} {
		if _, err := translog.NewWitness(bad); err == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}
