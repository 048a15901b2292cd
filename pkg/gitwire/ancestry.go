package gitwire

import (
	"context"
	"maps"
	"slices"

	"github.com/sluicegate/sluice/pkg/operation"
)

// change is one update of a push with what could be found out about it.
type change struct {
	update
	kind   operation.RefChange
	forced operation.Certainty
	lost   []known // commits that the ref would lose, newest first; not always all
	coming []known // commits that the pack brings it, newest first; not always all
	more   struct{ lost, coming bool }
}

// known is a commit and its id.
type known struct {
	id id
	commit
}

// Bounds of what is found out about one push. Beyond them a ref's history is
// unknown.
const (
	maxQuestions = 64      // refs whose history the server is asked about
	maxHaves     = 4 << 10 // commits at which a history leaves the pack
	maxSteps     = 8 << 20 // commits walked for all refs together
	maxShown     = 100     // commits kept of each list
)

// historian answers for the refs of one push.
type historian struct {
	pack      *pack // nil: nothing came but commands
	format    format
	ask       func(ctx context.Context, q question) (answer, error) // nil: the server cannot be asked
	tips      map[string]id                                         // what some refs of the server are at
	shallow   map[id]struct{}                                       // commits behind which the server may cut histories off
	steps     int
	questions int
}

// judge says what becomes of each ref. A ref that is deleted loses everything;
// one that is created, nothing.
func (h *historian) judge(ctx context.Context, updates []update) []change {
	changes := make([]change, len(updates))
	for i, u := range updates {
		c := &changes[i]
		c.update, c.kind, c.forced = u, u.kind(), operation.Uncertain
		switch c.kind {
		case operation.RefCreate:
			c.forced = operation.CertainlyNot
			h.walk(c)
		case operation.RefDelete:
			c.forced = operation.Certainly
			h.orphans(ctx, c)
		case operation.RefUpdate:
			h.compare(ctx, c)
		}
	}
	return changes
}

// kind sorts an update.
func (u *update) kind() operation.RefChange {
	switch (id{}) {
	case u.old:
		return operation.RefCreate
	case u.new:
		return operation.RefDelete
	}
	return operation.RefUpdate
}

// question asks the server, while questions are left.
func (h *historian) question(ctx context.Context, want id, have []id) (answer, bool) {
	if h.questions++; h.ask == nil || h.questions > maxQuestions || len(have) > maxHaves {
		return answer{}, false
	}
	said, err := h.ask(ctx, question{format: h.format, want: want, have: have})
	return said, err == nil
}

// orphans finds the commits that no other ref of the server would hold once
// one is deleted. They are for people: nothing depends on them. What the ref is at
// the server says, where it does: git deletes it too for a client that names as
// old what nobody has.
func (h *historian) orphans(ctx context.Context, c *change) {
	if at, told := h.tips[c.name]; told {
		c.old = at
	}
	c.more.lost = true
	if len(h.tips) == maxTips {
		return // there are more, which may hold them
	}
	var others []id
	for name, tip := range h.tips {
		if name == c.name {
			continue
		}
		if tip == c.old {
			c.more.lost = false
			return
		}
		others = append(others, tip)
	}
	if said, ok := h.question(ctx, c.old, others); ok {
		h.lose(c, said, nil)
	}
}

// lose notes which commits of an answer are lost: those that were not kept.
func (h *historian) lose(c *change, said answer, kept map[id]struct{}) {
	for _, k := range said.commits {
		if _, stays := kept[k.id]; stays {
			continue
		}
		if len(c.lost) == maxShown {
			c.more.lost = true
			return
		}
		c.lost = append(c.lost, k)
	}
	c.more.lost = !said.complete
}

// compare decides whether the new history holds the old one. The pack proves
// that it does where a chain of commits, each bound to its parents by its own
// hash, leads from new to old. Else the chain leaves the pack at commits that
// the server must have already, and the server is asked what old has that
// these have not.
func (h *historian) compare(ctx context.Context, c *change) {
	if c.old == c.new {
		c.forced = operation.CertainlyNot
		return
	}
	walked, ok := h.walk(c)
	if !ok {
		return
	}
	if _, met := walked.seen[c.old]; met {
		c.forced = operation.CertainlyNot
		return
	}
	leaves, all := h.kept(ctx, walked.leaves)
	if said, ok := h.question(ctx, c.old, leaves); ok {
		said.unsure = !all
		h.conclude(c, walked, said)
	}
}

// kept leaves out what a server that takes shallow pushes (git-config,
// receive.shallowUpdate) would make the end of its history: what the client has
// without parents and no ref of the server leads to. It reports whether that is
// all.
func (h *historian) kept(ctx context.Context, leaves []id) (kept []id, all bool) {
	for _, leaf := range leaves {
		if _, root := h.shallow[leaf]; !root || h.reached(ctx, leaf) {
			kept = append(kept, leaf)
		}
	}
	return kept, len(kept) == len(leaves)
}

// reached reports whether it is certain that a ref of the server leads to a
// commit.
func (h *historian) reached(ctx context.Context, commit id) bool {
	tips := slices.Collect(maps.Values(h.tips))
	if slices.Contains(tips, commit) {
		return true
	}
	said, ok := h.question(ctx, commit, tips)
	return ok && said.complete && !said.plain && len(said.commits) == 0
}

// conclude reads the server's answer: the pack of what old has and the leaves
// have not. Commits that the pushed pack holds as well are not lost.
func (h *historian) conclude(c *change, walked lineage, said answer) {
	h.lose(c, said, walked.seen)
	lost := len(c.lost) > 0 || len(said.commits) == 0 && said.plain
	switch {
	case lost && said.unsure:
	case lost && h.pack != nil && h.pack.opaque && !said.acknowledged:
		// A leaf that the server has not may hide in the pack, where it was
		// not understood: what it leads to is not known.
	case lost:
		c.forced = operation.Certainly
	case said.complete:
		c.forced = operation.CertainlyNot
	}
}

// lineage is a walk from a ref's new id.
type lineage struct {
	seen   map[id]struct{} // everything that the walk met
	leaves []id            // of seen, what the pack does not hold, and shallow roots
}

// walk follows parents and tags through the pack, breadth first, and notes
// which commits come. It reports false where it became too long.
func (h *historian) walk(c *change) (lineage, bool) {
	w := lineage{seen: map[id]struct{}{c.new: {}}}
	for queue := []id{c.new}; len(queue) > 0; queue = queue[1:] {
		if h.steps++; h.steps > maxSteps {
			return w, false
		}
		at := queue[0]
		next, held := h.next(c, at)
		if !held {
			w.leaves = append(w.leaves, at)
			continue
		}
		for _, n := range next {
			if _, again := w.seen[n]; !again {
				w.seen[n] = struct{}{}
				queue = append(queue, n)
			}
		}
	}
	return w, true
}

// next returns what an object of the pack leads to.
func (h *historian) next(c *change, at id) (next []id, held bool) {
	if h.pack == nil {
		return nil, false
	}
	if found, ok := h.pack.commits[at]; ok {
		if len(c.coming) < maxShown {
			c.coming = append(c.coming, known{at, found})
		} else {
			c.more.coming = true
		}
		if _, root := h.shallow[at]; root {
			return nil, false // it may be the end of the server's history, too
		}
		return found.parents, true
	}
	if tagged, ok := h.pack.tags[at]; ok {
		return []id{tagged}, true
	}
	_, plain := h.pack.plain[at]
	return nil, plain
}
