package translog_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

func codes(report translog.Report) []translog.Code {
	found := []translog.Code{}
	for _, f := range report.Findings {
		if !slices.Contains(found, f.Code) {
			found = append(found, f.Code)
		}
	}
	slices.Sort(found)
	return found
}

func TestHonestBundlesVerify(t *testing.T) {
	for _, scope := range []translog.Scope{
		{Kind: translog.WholeLog}, {Kind: translog.Range, First: 1}, {Kind: translog.Range, First: 5}, {Kind: translog.OneSession, Session: session1},
	} {
		w := newWorld(t)
		w.scope = scope
		report := w.verify(t, w.bundle(t))
		for _, f := range report.Findings {
			t.Errorf("scope %+v: %s", scope, f)
		}
		if report.Size != 8 || report.Origin != origin || report.Batches == 0 {
			t.Errorf("scope %+v: got %+v", scope, report)
		}
	}
}

// replace changes text in a file, which must be there once at least.
func replace(t *testing.T, files fstest.MapFS, name, from, to string) {
	t.Helper()
	file := files[name]
	if file == nil || !bytes.Contains(file.Data, []byte(from)) {
		t.Fatalf("%s does not hold %q", name, from)
	}
	file.Data = bytes.Replace(file.Data, []byte(from), []byte(to), 1)
}

// lines changes the lines of a file.
func lines(t *testing.T, files fstest.MapFS, name string, change func([]string) []string) {
	t.Helper()
	all := strings.SplitAfter(string(files[name].Data), "\n")
	files[name].Data = []byte(strings.Join(change(all[:len(all)-1]), ""))
}

func TestTamperingIsNamed(t *testing.T) {
	cases := []struct {
		name   string
		world  func(t *testing.T, w *world)
		tamper func(t *testing.T, w *world, files fstest.MapFS)
		want   []translog.Code
	}{
		{name: "a letter of a statement", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "records/1.jsonl", "statement 4", "statement 5")
		}, want: []translog.Code{translog.RecordAltered}},
		{name: "a record and its leaf hash", tamper: func(t *testing.T, w *world, files fstest.MapFS) {
			e := w.batches[1].Entries[1].Entry
			e.Body = bytes.Replace(e.Body, []byte("4"), []byte("5"), 1)
			replace(t, files, "records/1.jsonl", "statement 4", "statement 5")
			replace(t, files, "records/1.jsonl", w.batches[1].Entries[1].Leaf().String(), e.Leaf().String())
		}, want: []translog.Code{translog.RecordAltered}},
		{name: "a record deleted", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			lines(t, files, "records/0.jsonl", func(l []string) []string { return slices.Delete(l, 1, 2) })
		}, want: []translog.Code{translog.RecordDeleted}},
		{name: "a record reduced to its leaf hash", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			lines(t, files, "records/0.jsonl", func(l []string) []string {
				l[1] = l[1][:strings.Index(l[1], `,"salt_header"`)] + "}\n"
				return l
			})
		}, want: []translog.Code{translog.RecordAltered}},
		{name: "a record twice", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			lines(t, files, "records/0.jsonl", func(l []string) []string { return append(l, l[2]) })
		}, want: []translog.Code{translog.RecordAdded}},
		{name: "a record of another batch", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["records/0.jsonl"].Data = append(files["records/0.jsonl"].Data, files["records/3.jsonl"].Data...)
		}, want: []translog.Code{translog.RecordAdded}},
		{name: "records reordered", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			lines(t, files, "records/0.jsonl", func(l []string) []string { l[0], l[1] = l[1], l[0]; return l })
		}, want: []translog.Code{translog.Reordered}},
		{name: "the records of a batch", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "records/1.jsonl")
		}, want: []translog.Code{translog.RecordDeleted}},
		{name: "a batch missing", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/1")
			delete(files, "records/1.jsonl")
		}, want: []translog.Code{translog.BatchMissing, translog.SessionIncomplete}},
		{name: "the tail cut", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/7")
			delete(files, "records/7.jsonl")
		}, want: []translog.Code{translog.BatchMissing}},
		{name: "two notes exchanged", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["notes/0"], files["notes/1"] = files["notes/1"], files["notes/0"]
			files["records/0.jsonl"], files["records/1.jsonl"] = files["records/1.jsonl"], files["records/0.jsonl"]
		}, want: []translog.Code{translog.LogInclusion}},
		{name: "a number in a note", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "notes/1", "drops 0", "drops 9")
		}, want: []translog.Code{translog.BatchMissing, translog.LogInclusion, translog.NoteSignature, translog.SessionIncomplete}},
		{name: "a second signature on a note", tamper: func(t *testing.T, w *world, files fstest.MapFS) {
			files["notes/1"].Data = append(files["notes/1"].Data, "— somebody AAAAAAAA\n"...)
		}, want: []translog.Code{translog.BatchMissing, translog.LogInclusion, translog.NoteSignature, translog.SessionIncomplete}},
		{name: "an agent that nobody trusts", world: func(t *testing.T, w *world) {
			w.add(newAgent(t, "evil").batch(t, seal, opened("x"), closed("x", 2)))
		}, want: []translog.Code{translog.AgentUnknown}},
		{name: "a note signed by another agent's key", world: func(t *testing.T, w *world) {
			evil := newAgent(t, "one") // the name is right, the key is not
			evil.next.Epoch = record.Epoch{9}
			w.add(evil.batch(t, seal, opened("x"), closed("x", 2)))
		}, want: []translog.Code{translog.NoteSignature}},
		{name: "a checkpoint of another log", tamper: func(t *testing.T, w *world, files fstest.MapFS) {
			w.log = newSigner(t, origin)
			files["checkpoint"].Data = w.checkpoint(t)
			w.log = newSigner(t, origin)
		}, want: []translog.Code{translog.CheckpointSignature}},
		{name: "a size in the checkpoint", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			replace(t, files, "checkpoint", "\n8\n", "\n7\n")
		}, want: []translog.Code{translog.CheckpointSignature}},
		{name: "an epoch that hides the one before", world: func(t *testing.T, w *world) {
			w.one.epoch(record.Boot)
			w.one.next.PrevEpoch, w.one.next.Prev = record.Epoch{}, record.Hash{}
			w.add(w.one.batch(t, seal))
		}, want: []translog.Code{translog.ChainBroken}},
		{name: "a note that names another before it", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, nil))
			w.two.next.Prev[0] ^= 1
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.ChainBroken}},
		{name: "a note after the seal", world: func(t *testing.T, w *world) {
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.ChainBroken}},
		{name: "two notes with one number", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			before := w.two.next
			w.add(w.two.batch(t, seal))
			w.two.next = before
			w.add(w.two.batch(t, func(b *record.Batch) { b.Seal, b.Clock = true, record.Unsynced }))
		}, want: []translog.Code{translog.Equivocation}},
		{name: "a batch that the log never got", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, nil))
			w.two.batch(t, nil)
			w.add(w.two.batch(t, seal))
		}, want: []translog.Code{translog.BatchMissing}},
		{name: "records that the agent lost", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.two.records = 3
			w.add(w.two.batch(t, func(b *record.Batch) { b.Seal, b.Drops = true, 3 }, opened("x"), closed("x", 2)))
		}, want: []translog.Code{translog.RecordsDropped}},
		{name: "an agent that fell silent", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, nil))
			w.at = w.at.Add(5 * time.Minute)
		}, want: []translog.Code{translog.TailOpen}},
		{name: "a rolled back log", world: func(t *testing.T, w *world) {
			other := newWorld(t)
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, func(b *record.Batch) { other.seen(t)(b); b.Seal = true }))
		}, want: []translog.Code{translog.LogForked}},
		{name: "a checkpoint seen that is larger than the log", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, func(b *record.Batch) { b.Seal, b.Seen = true, record.Seen{Origin: origin, Size: 900} }))
		}, want: []translog.Code{translog.LogForked}},
		{name: "a body withheld", world: func(t *testing.T, w *world) {
			e := &w.batches[0].Entries[1]
			hash := record.Commit(e.SaltBody, e.Body)
			e.BodyHash, e.Body, e.SaltBody = &hash, nil, record.Salt{}
		}, want: []translog.Code{translog.BodyMissing}},
		{name: "a session that counts more records than there are", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			w.add(w.two.batch(t, seal, opened("x"), closed("x", 3)))
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a header with another number", world: func(t *testing.T, w *world) {
			w.two.epoch(record.Boot)
			e := w.two.batch(t, nil, opened("x")).Entries[0].Entry
			e.No = 0
			e.Header = bytes.Replace(e.Header, []byte(`"no":0`), []byte(`"no":7`), 1)
			w.two.next.Seq, w.two.next.Prev = 0, record.NoteHash(w.batches[7].Note)
			b := w.two.batch(t, func(b *record.Batch) {
				b.First, b.Count, b.Root, b.Seal = 0, 1, e.Leaf(), true
			})
			b.Entries = []translog.StoredEntry{{Entry: e}}
			w.add(b)
		}, want: []translog.Code{translog.RecordInvalid}},
		{name: "a file that does not belong there", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["notes/008"] = &fstest.MapFile{Data: []byte("x")}
			files["keys/agent"] = &fstest.MapFile{Data: []byte("x")}
		}, want: []translog.Code{translog.BundleMalformed}},
		{name: "no checkpoint", tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "checkpoint")
		}, want: []translog.Code{translog.BundleMalformed}},
		{name: "a session's batch left out", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/1")
			delete(files, "records/1.jsonl")
			delete(files, "proofs/1")
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a session's record hidden", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			lines(t, files, "records/0.jsonl", func(l []string) []string {
				l[1] = l[1][:strings.Index(l[1], `,"salt_header"`)] + "}\n"
				return l
			})
		}, want: []translog.Code{translog.SessionIncomplete}},
		{name: "a proof altered", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.OneSession, Session: session1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			files["proofs/1"].Data[0] ^= 1
		}, want: []translog.Code{translog.LogInclusion}},
		{name: "a batch missing in a range", world: func(_ *testing.T, w *world) {
			w.scope = translog.Scope{Kind: translog.Range, First: 1}
		}, tamper: func(t *testing.T, _ *world, files fstest.MapFS) {
			delete(files, "notes/3")
			delete(files, "records/3.jsonl")
			delete(files, "proofs/3")
		}, want: []translog.Code{translog.BatchMissing}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			if c.world != nil {
				c.world(t, w)
			}
			files := w.bundle(t)
			if c.tamper != nil {
				c.tamper(t, w, files)
			}
			report := w.verify(t, files)
			if diff := cmp.Diff(c.want, codes(report)); diff != "" {
				t.Errorf("codes (-want +got):\n%s", diff)
				for _, f := range report.Findings {
					t.Logf("%s", f)
				}
			}
		})
	}
}

// Every single byte of every record, flipped, is found, and the finding names
// the record.
func TestEveryFlippedByteNamesItsRecord(t *testing.T) {
	w := newWorld(t)
	files := w.bundle(t)
	const name = "records/1.jsonl" // records 3 and 4
	honest := files[name].Data
	first := bytes.IndexByte(honest, '\n')
	for i := range honest {
		altered := slices.Clone(honest)
		altered[i] ^= 1
		files[name] = &fstest.MapFile{Data: altered}
		want := int64(3)
		if i > first {
			want = 4
		}
		report := w.verify(t, files)
		if !slices.ContainsFunc(report.Findings, func(f translog.Finding) bool {
			return f.Index == 1 && f.Record == want && f.Code == translog.RecordAltered
		}) {
			t.Fatalf("byte %d (%q): record %d is not named in %v", i, honest[max(0, i-5):min(len(honest), i+5)], want, report.Findings)
		}
	}
}

func TestUselessTrustIsAnError(t *testing.T) {
	w := newWorld(t)
	files := w.bundle(t)
	for _, trust := range []translog.Trust{
		{}, {Log: "nonsense"}, {Log: w.log.public, Agents: []string{"x"}}, {Log: w.log.public, Agents: []string{w.one.public, newAgent(t, "one").public}},
	} {
		if _, err := translog.Verify(files, trust); err == nil {
			t.Errorf("trust %+v was taken", trust)
		}
	}
	delete(files, "bundle.json")
	if _, err := translog.Verify(files, w.trust()); err == nil {
		t.Error("a directory that is no bundle was verified")
	}
}

func BenchmarkVerify(b *testing.B) {
	w := newWorld(b)
	w.two.epoch(record.Boot)
	headers := make([]record.Header, 100)
	for i := range headers {
		headers[i] = intent("bench")
	}
	headers[0] = opened("bench")
	for range 50 {
		w.add(w.two.batch(b, nil, headers...))
		headers[0] = intent("bench")
	}
	w.add(w.two.batch(b, seal))
	files := w.bundle(b)
	b.ResetTimer()
	records := 0
	for b.Loop() {
		report := w.verify(b, files)
		if !report.OK() {
			b.Fatal(report.Findings[0])
		}
		records += report.Records
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}
