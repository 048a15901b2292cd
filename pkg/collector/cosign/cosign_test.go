package cosign_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/collector/cosign"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/translog"
)

// witness does what C2SP tlog-witness says of add-checkpoint, on x/mod's
// proofs: it co-signs only what extends the newest checkpoint that it saw.
type witness struct {
	*httptest.Server
	key ed25519.PrivateKey
	log note.Verifier

	mu   sync.Mutex
	tree tlog.Tree // guarded by mu; the newest that it saw
	down bool      // guarded by mu
}

func newWitness(t *testing.T, logKey string) *witness {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	check(t, err)
	w := &witness{key: key}
	w.log, err = note.NewVerifier(logKey)
	check(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /add-checkpoint", w.add)
	w.Server = httptest.NewServer(mux)
	t.Cleanup(w.Close)
	return w
}

func (w *witness) name() string { return "witness.example/" + w.Listener.Addr().String() }

func (w *witness) id() []byte {
	sum := sha256.Sum256(append([]byte(w.name()+"\n\x04"), w.key.Public().(ed25519.PublicKey)...))
	return sum[:4]
}

func (w *witness) pinned(t *testing.T) cosign.Witness {
	t.Helper()
	public := append([]byte{4}, w.key.Public().(ed25519.PublicKey)...)
	key, err := translog.NewWitness(fmt.Sprintf("%s+%x+%s", w.name(), w.id(), base64.StdEncoding.EncodeToString(public)))
	check(t, err)
	return cosign.Witness{URL: w.URL, Key: key}
}

func (w *witness) add(answer http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	head, signed, ok := bytes.Cut(body, []byte("\n\n"))
	if err != nil || !ok || w.down {
		answer.WriteHeader(http.StatusBadRequest)
		return
	}
	opened, err := note.Open(signed, note.VerifierList(w.log))
	if err != nil {
		answer.WriteHeader(http.StatusForbidden)
		return
	}
	lines := strings.Split(opened.Text, "\n")
	size, sizeErr := strconv.ParseInt(lines[1], 10, 64)
	root, rootErr := tlog.ParseHash(lines[2])
	asked := strings.Split(string(head), "\n")
	old, oldErr := strconv.ParseInt(strings.TrimPrefix(asked[0], "old "), 10, 64)
	if sizeErr != nil || rootErr != nil || oldErr != nil || old > size || lines[0] != w.log.Name() {
		answer.WriteHeader(http.StatusBadRequest)
		return
	}
	if old != w.tree.N {
		answer.Header().Set("Content-Type", "text/x.tlog.size")
		answer.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(answer, "%d\n", w.tree.N)
		return
	}
	var proof tlog.TreeProof
	for _, text := range asked[1:] {
		hash, err := tlog.ParseHash(text)
		if err != nil {
			answer.WriteHeader(http.StatusBadRequest)
			return
		}
		proof = append(proof, hash)
	}
	if old == size && root != w.tree.Hash || old > 0 && old < size && tlog.CheckTree(proof, size, root, old, w.tree.Hash) != nil || old == 0 && len(proof) > 0 {
		answer.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	w.tree = tlog.Tree{N: size, Hash: root}
	now := uint64(time.Now().Unix())
	message := fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", now, opened.Text)
	raw := append(binary.BigEndian.AppendUint64(w.id(), now), ed25519.Sign(w.key, message)...)
	_, _ = fmt.Fprintf(answer, "— %s %s\n", w.name(), base64.StdEncoding.EncodeToString(raw))
}

func (w *witness) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// bench is a log and who asks witnesses about it.
type bench struct {
	t    *testing.T
	db   *store.Store
	node *collectortest.Agent
	logs *observer.ObservedLogs
	key  *translog.Verifier
	vkey string
	cosign.Cosigner
}

func newBench(t *testing.T) *bench {
	t.Helper()
	skey, vkey, err := translog.GenerateKey("log.example/test")
	check(t, err)
	signer, err := translog.NewSigner(skey)
	check(t, err)
	b := &bench{t: t, vkey: vkey, node: collectortest.NewAgent(t, "node-1")}
	b.key, err = translog.NewVerifier(vkey)
	check(t, err)
	b.db, err = store.Open(t.Context(), t.TempDir(), vkey, signer)
	check(t, err)
	t.Cleanup(func() { check(t, b.db.Close()) })
	core, logs := observer.New(zapcore.DebugLevel)
	b.logs = logs
	b.Cosigner = cosign.Cosigner{Store: b.db, Key: b.key, Log: zap.New(core)}
	return b
}

func (b *bench) grow(n int) {
	b.t.Helper()
	for range n {
		m := b.node.Batch()
		head, err := translog.PeekBatch(m.Note)
		check(b.t, err)
		_, err = b.db.Append(b.t.Context(), []store.Batch{{Batch: head, Note: m.Note, Payload: m.Payload}})
		check(b.t, err)
	}
}

// round asks once and returns what is kept then.
func (b *bench) round() (size int64, by []translog.Cosignature) {
	b.t.Helper()
	check(b.t, b.Round(b.t.Context()))
	_, note, err := b.db.Cosigned(b.t.Context())
	check(b.t, err)
	if note == nil {
		return 0, nil
	}
	var all []*translog.Witness
	for _, w := range b.Witnesses {
		all = append(all, w.Key)
	}
	head, by, err := translog.OpenCosigned(note, b.key, all)
	check(b.t, err)
	return head.Size, by
}

func TestWitnessesCosignAsTheLogGrows(t *testing.T) {
	b := newBench(t)
	one, two := newWitness(t, b.vkey), newWitness(t, b.vkey)
	b.Witnesses = []cosign.Witness{one.pinned(t), two.pinned(t)}
	if size, _ := b.round(); size != 0 {
		t.Errorf("an empty log was co-signed: %d", size)
	}
	for _, n := range []int{1, 6, 1, 0} {
		b.grow(n)
		want, _, err := b.db.Checkpoint(t.Context())
		check(t, err)
		if size, by := b.round(); size != want || len(by) != 2 {
			t.Errorf("%d leaves: %d are co-signed by %v", want, size, by)
		}
	}
	b.grow(3)
	again := cosign.Cosigner{Store: b.db, Key: b.key, Witnesses: b.Witnesses, Log: b.Log} // a restart: what they saw is not known
	b.Cosigner = again
	if size, by := b.round(); size != 11 || len(by) != 2 {
		t.Errorf("after a restart %d leaves are co-signed by %v", size, by)
	}
}

func TestCheckpointWithMoreCosignaturesIsKept(t *testing.T) {
	b := newBench(t)
	one, two := newWitness(t, b.vkey), newWitness(t, b.vkey)
	b.Witnesses = []cosign.Witness{one.pinned(t), two.pinned(t)}
	b.grow(2)
	b.round()
	two.set(func() { two.down = true })
	b.grow(2)
	if size, by := b.round(); size != 2 || len(by) != 2 {
		t.Errorf("with one away %d leaves are kept, co-signed by %v", size, by)
	}
	if b.logs.FilterMessage("A witness does not co-sign").Len() != 1 {
		t.Errorf("logged: %v", b.logs.All())
	}
	two.set(func() { two.down = false })
	if size, by := b.round(); size != 4 || len(by) != 2 {
		t.Errorf("with both again %d leaves are kept, co-signed by %v", size, by)
	}
}

func TestLogThatGoesBackIsNotCosigned(t *testing.T) {
	b := newBench(t)
	one := newWitness(t, b.vkey)
	b.Witnesses = []cosign.Witness{one.pinned(t)}
	b.grow(2)
	one.set(func() { one.tree = tlog.Tree{N: 5} })
	if size, _ := b.round(); size != 0 {
		t.Errorf("%d leaves are co-signed", size)
	}
	said := b.logs.FilterMessage("A witness does not co-sign").All()
	if len(said) != 1 || !strings.Contains(fmt.Sprint(said[0].ContextMap()["error"]), "longer log") {
		t.Errorf("logged: %v", said)
	}
	one.set(func() { one.tree = tlog.Tree{N: 1, Hash: tlog.Hash{1}} })
	if size, _ := b.round(); size != 0 {
		t.Errorf("a forked log: %d leaves are co-signed", size)
	}
}

func TestAnswerOfAnotherKeyIsNotBelieved(t *testing.T) {
	b := newBench(t)
	one, two := newWitness(t, b.vkey), newWitness(t, b.vkey)
	mixed := one.pinned(t)
	mixed.URL = two.URL
	b.Witnesses = []cosign.Witness{mixed}
	b.grow(1)
	if size, _ := b.round(); size != 0 {
		t.Errorf("%d leaves are co-signed", size)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
