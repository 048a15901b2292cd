package translog

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluicegate/sluice/pkg/record"
)

// silence is how long an agent may say nothing, in ms: two heartbeats and the
// time to ingest one.
const silence = 90_000

// checkChains follows each agent's notes: number by number within an epoch,
// hash by hash across epochs.
func (v *verification) checkChains() {
	agents := map[string][]*checkedBatch{}
	for _, b := range v.batches {
		name := AgentKeyName(b.Cluster, b.Agent)
		agents[name] = append(agents[name], b)
	}
	v.report.Agents = len(agents)
	latest := v.exported
	for _, b := range v.batches {
		if b.Clock == record.Synced { // one clock that runs ahead must not make all others look silent
			latest = max(latest, b.To)
		}
	}
	names := make([]string, 0, len(agents))
	for name := range agents {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		v.checkAgent(agents[name], latest)
	}
}

// epochNotes are the notes of one epoch by number.
type epochNotes struct {
	notes []*checkedBatch
}

func (v *verification) checkAgent(batches []*checkedBatch, latest int64) {
	var order []record.Epoch // as they first appear in the log
	epochs := map[record.Epoch]*epochNotes{}
	for _, b := range batches {
		if epochs[b.Epoch] == nil {
			epochs[b.Epoch] = &epochNotes{}
			order = append(order, b.Epoch)
		}
		epochs[b.Epoch].notes = append(epochs[b.Epoch].notes, b)
	}
	followed := map[record.Epoch]bool{}
	for _, epoch := range order {
		e := epochs[epoch]
		slices.SortStableFunc(e.notes, func(a, b *checkedBatch) int { return cmp.Compare(a.Seq, b.Seq) })
		e.notes = v.checkTwins(e.notes)
		v.checkEpoch(e.notes)
		first := e.notes[0]
		if followed[first.PrevEpoch] && first.PrevEpoch != (record.Epoch{}) {
			v.find(first.finding(ChainBroken, "two epochs follow the same one"))
		}
		followed[first.PrevEpoch] = true
		v.checkLink(first, epochs[first.PrevEpoch], epoch == order[0])
	}
	if v.report.Scope.Kind == OneSession {
		return
	}
	for _, epoch := range order {
		notes := epochs[epoch].notes
		last := notes[len(notes)-1]
		if !followed[epoch] && !last.Seal && latest-last.To > silence {
			v.find(last.finding(TailOpen, fmt.Sprintf("the agent fell silent without a seal, %d s before the newest that is known", (latest-last.To)/1000)))
		}
	}
}

// checkTwins reports notes with one number, and keeps the first of them.
func (v *verification) checkTwins(notes []*checkedBatch) []*checkedBatch {
	kept := notes[:1]
	for _, b := range notes[1:] {
		before := kept[len(kept)-1]
		if b.Seq != before.Seq {
			kept = append(kept, b)
			continue
		}
		b.twin = true
		if b.hash != before.hash {
			v.find(b.finding(Equivocation, fmt.Sprintf("leaf %d holds another note with this number", before.index)))
		} else {
			v.find(b.finding(BatchReplayed, fmt.Sprintf("it is leaf %d of the log, too", before.index)))
		}
	}
	return kept
}

// checkEpoch follows the notes of one epoch.
func (v *verification) checkEpoch(notes []*checkedBatch) {
	for i, b := range notes {
		if b.Drops > 0 {
			v.find(b.finding(RecordsDropped, fmt.Sprintf("the agent states that it lost %d records before this batch", b.Drops)))
		}
		if i == 0 {
			continue
		}
		before := notes[i-1]
		switch {
		case b.Seq != before.Seq+1:
			if v.report.Scope.Kind != OneSession {
				v.find(b.finding(BatchMissing, fmt.Sprintf("batches %d to %d are missing", before.Seq+1, b.Seq-1)))
			}
		case b.Prev != before.hash:
			v.find(b.finding(ChainBroken, "the note does not name the one before it"))
		case before.Seal:
			v.find(b.finding(ChainBroken, "the note follows a seal"))
		case b.First != before.First+before.Count+b.Drops:
			v.find(b.finding(ChainBroken, "the record numbers do not continue"))
		case b.PrevEpoch != before.PrevEpoch || b.Reason != before.Reason:
			v.find(b.finding(ChainBroken, "the epoch changes its beginning"))
		}
	}
}

// checkLink checks how an epoch begins. before are the notes of the epoch that
// it names, nil when none are in the bundle.
func (v *verification) checkLink(first *checkedBatch, before *epochNotes, oldest bool) {
	if v.report.Scope.Kind == OneSession {
		return // only batches that hold the session's records are there
	}
	if oldest && v.report.Scope.Kind == Range {
		return // what came before lies outside the range
	}
	if first.Seq != 0 {
		v.find(first.finding(BatchMissing, fmt.Sprintf("batches 0 to %d are missing", first.Seq-1)))
		return
	}
	if first.First != first.Drops {
		v.find(first.finding(ChainBroken, "the record numbers do not begin at 0"))
	}
	if first.PrevEpoch == (record.Epoch{}) {
		if !oldest || first.Prev != (record.Hash{}) {
			v.find(first.finding(EpochUnlinked, "the epoch is not linked to the one before: the agent lost its spool, or hides one"))
		}
		return
	}
	if before == nil {
		v.find(first.finding(BatchMissing, "the epoch before, "+first.PrevEpoch.String()+", is missing"))
		return
	}
	last := before.notes[len(before.notes)-1]
	switch {
	case last.hash != first.Prev:
		v.find(first.finding(EpochUnlinked, fmt.Sprintf("the epoch does not continue batch %d of the epoch before", last.Seq)))
	case last.Seal != (first.Reason == record.Boot):
		v.find(first.finding(ChainBroken, "the epoch's reason and the seal of the one before contradict each other"))
	}
}
