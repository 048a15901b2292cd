package sqltext

import (
	"sync"
	"sync/atomic"

	pg_query "github.com/pganalyze/pg_query_go/v6"
	pgquery "github.com/wasilibs/go-pgquery"
)

// parserSlots is how many texts are parsed at once. Each slot has a sandbox of
// its own, of some 50 MB; with two, a text that takes long does not hold up
// all others.
const parserSlots = 2

// parser is PostgreSQL's own, in a sandbox.
type parser struct {
	slots chan struct{}
	// broken is set when the sandbox trapped. What it says afterwards cannot
	// be believed (it may not even return), so it is not asked again.
	// maxNesting keeps texts away from the only known way to get there.
	broken atomic.Bool
}

func newParser() *parser { return &parser{slots: make(chan struct{}, parserSlots)} }

// warm fills every slot at once, so that each gets its sandbox.
func (p *parser) warm() {
	var wg sync.WaitGroup
	for range parserSlots {
		wg.Go(func() { p.parse("SELECT") })
	}
	wg.Wait()
}

// parse returns the syntax tree of text, which must be UTF-8 without NUL.
func (p *parser) parse(text string) (tree *pg_query.ParseResult, why refusal) {
	why = p.enter(func() (err error) {
		tree, err = pgquery.Parse(text)
		return err
	})
	return tree, why
}

// write returns the text of a syntax tree.
func (p *parser) write(tree *pg_query.ParseResult) (text string, why refusal) {
	why = p.enter(func() (err error) {
		text, err = pgquery.Deparse(tree)
		return err
	})
	return text, why
}

// enter runs something in the sandbox.
func (p *parser) enter(run func() error) (why refusal) {
	p.slots <- struct{}{}
	defer func() {
		if recover() != nil {
			p.broken.Store(true)
			why = refusedParser
		}
		<-p.slots
	}()
	if p.broken.Load() {
		return refusedParser
	}
	if run() != nil {
		return refusedSyntax
	}
	return ""
}
