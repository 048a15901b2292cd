package translog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/sluicegate/sluice/pkg/record"
)

// maxEntries is more entries than any batch has records.
const maxEntries = 2 * record.MaxRecords

// recordCheck is what came of the records of one batch.
type recordCheck struct {
	found                     []Finding
	records, hidden, shredded int
}

// recordChecker checks one batch after the other. What it does is its own.
type recordChecker struct {
	v   *verification // is not changed
	b   *checkedBatch
	out *recordCheck

	data     []byte
	entries  []readEntry
	leaves   []record.Hash
	briefs   record.BriefReader
	sessions map[string]*sessionCount // of the batch, by id
}

// checkRecords checks the records of every batch, on all processors: batches
// are independent of each other up to the chain.
func (v *verification) checkRecords() {
	checks := make([]recordCheck, len(v.batches))
	inParallel(len(v.batches), func(c *recordChecker, i int) {
		c.v, c.b, c.out, c.sessions = v, v.batches[i], &checks[i], map[string]*sessionCount{}
		c.check()
	})
	for i := range checks {
		v.report.Findings = append(v.report.Findings, checks[i].found...)
		v.report.Records += checks[i].records
		v.report.Hidden += checks[i].hidden
		v.report.Shredded += checks[i].shredded
	}
}

// check compares the records of a batch with the root that its agent signed.
// The root alone would say that something in the batch was changed; the leaf
// hash of each entry says what: it either fits its own entry or it does not, and
// only the true leaf hashes give the root.
func (c *recordChecker) check() {
	b := c.b
	if err := c.read(); err != nil {
		c.find(b.finding(RecordDeleted, "its records are not in the bundle: "+err.Error()))
		return
	}
	if !c.split() {
		c.find(b.finding(BundleMalformed, "there are too many records"))
		return
	}
	number(c.entries, b.First, b.First+b.Count)
	intact := c.checkEntries()
	intact = c.checkNumbers() && intact
	c.leaves = c.leaves[:0]
	for i := range c.entries {
		c.leaves = append(c.leaves, c.entries[i].leaf)
	}
	if intact && record.Root(c.leaves) != b.Root {
		f := b.finding(RecordAltered, fmt.Sprintf("records %d to %d and their leaf hashes do not give the root that the agent signed", b.First, b.First+b.Count-1))
		if b.Count == 0 {
			f.Detail = "the batch is empty and its root is not"
		}
		f.Record = int64(b.First)
		c.find(f)
		return
	}
	// In a batch that is not intact an entry whose own leaf fits is likely what was
	// signed but not proven, so it is not counted.
	b.whole = intact
	for i := 0; intact && i < len(c.entries); i++ {
		c.keep(&c.entries[i])
	}
}

func (c *recordChecker) find(f Finding) { c.out.found = append(c.out.found, f) }

// report finds something in a record.
func (c *recordChecker) report(code Code, no uint64, session, detail string) {
	f := c.b.finding(code, detail)
	f.Record, f.Session = int64(no), session
	c.find(f)
}

// read reads the file of the batch's records into memory that is used again.
func (c *recordChecker) read() error {
	name := c.v.fileOf("records", c.b.index)
	file, err := c.v.open(name)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // it was only read
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if size := int(info.Size()); cap(c.data) < size {
		c.data = make([]byte, size)
	}
	c.data = c.data[:info.Size()]
	if _, err := io.ReadFull(file, c.data); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// split reads the entries, and returns false for more than any batch has.
func (c *recordChecker) split() bool {
	hiding := c.v.report.Scope.Kind == OneSession
	c.entries = c.entries[:0]
	for r := (entryReader{rest: c.data}); len(r.rest) > 0; {
		if len(c.entries) == maxEntries {
			return false
		}
		c.entries = append(c.entries, readEntry{})
		e := &c.entries[len(c.entries)-1]
		if r.next(e); e.err == "" {
			e.err = e.checkLeaf(hiding)
		}
	}
	return true
}

// number gives each entry its number. An altered entry may lie about it, so it
// is believed only when it fits between its neighbours.
func number(entries []readEntry, first, end uint64) {
	altered := false
	for i := range entries {
		altered = altered || entries[i].err != ""
	}
	if !altered {
		return
	}
	limits := make([]uint64, len(entries)) // the number of the next entry that can be believed
	for i := len(entries) - 1; i >= 0; i-- {
		limits[i] = end
		if entries[i].err == "" {
			end = entries[i].no
		}
	}
	next := first // what the entry's number should be
	for i := range entries {
		e := &entries[i]
		if e.err != "" && (e.no < next || e.no >= limits[i]) {
			e.no = next
		}
		next = e.no + 1
	}
}

// checkEntries reports each entry whose content does not fit its own leaf hash.
func (c *recordChecker) checkEntries() bool {
	intact := true
	for i := range c.entries {
		if e := &c.entries[i]; e.err != "" {
			intact = false
			c.report(RecordAltered, e.no, e.session(), e.err)
		}
	}
	return intact
}

// checkLeaf says what is wrong with an entry in itself. hiding says that entries
// may hold a leaf hash only.
func (e *readEntry) checkLeaf(hiding bool) string {
	switch {
	case e.kind == hidden && hiding:
		return ""
	case e.kind == hidden:
		return "the record was reduced to its leaf hash"
	case e.kind == whole:
		e.bodyHash = record.CommitBody(e.no, e.salt, e.body)
	}
	if record.Leaf(e.no, e.bodyHash, e.header) != e.leaf {
		return "the record does not fit its leaf hash"
	}
	return ""
}

// session returns the session that the entry's header names, altered or not.
func (e *readEntry) session() string { return sessionOf(e.header) }

// checkNumbers compares the numbers of the entries with those that the batch
// states.
func (c *recordChecker) checkNumbers() bool {
	if c.inOrder() {
		return true
	}
	b, intact := c.b, true
	report := func(code Code, no uint64, session, detail string) {
		intact = false
		c.report(code, no, session, detail)
	}
	there := map[uint64]bool{}
	var last uint64
	for i := range c.entries {
		e := &c.entries[i]
		switch {
		case e.no < b.First || e.no >= b.First+b.Count:
			report(RecordAdded, e.no, e.session(), "the batch has no record of this number")
		case there[e.no]:
			report(RecordAdded, e.no, e.session(), "the record is there twice")
		case len(there) > 0 && e.no < last:
			report(Reordered, e.no, e.session(), fmt.Sprintf("the record stands after record %d", last))
		}
		there[e.no] = true
		last = max(last, e.no)
	}
	for no := b.First; no < b.First+b.Count; no++ {
		if !there[no] {
			report(RecordDeleted, no, "", "the record is not in the bundle")
		}
	}
	return intact
}

// inOrder reports whether each number is at its place, as it nearly always is.
func (c *recordChecker) inOrder() bool {
	for i := range c.entries {
		if c.entries[i].no != c.b.First+uint64(i) {
			return false
		}
	}
	return uint64(len(c.entries)) == c.b.Count
}

// keep takes an entry that is what its agent signed, and looks at what it says.
func (c *recordChecker) keep(e *readEntry) {
	if e.kind == hidden {
		c.out.hidden++
		return
	}
	c.out.records++
	if err := c.readHeader(e); err != nil {
		c.report(RecordInvalid, e.no, e.session(), err.Error())
		return
	}
	switch {
	case e.kind == whole:
		if !record.ValidBody(e.body) {
			c.report(RecordInvalid, e.no, e.session(), "the body cannot be read")
		}
	case c.v.isShredded(c.b.index, e.no):
		c.out.shredded++
	default:
		c.report(BodyMissing, e.no, e.session(), "its body is not there, and no shredding says why")
	}
}

var errOtherNumber = errors.New("its header has another number")

// readHeader counts a record for its session.
func (c *recordChecker) readHeader(e *readEntry) error {
	if brief, ok := c.briefs.Read(e.header); ok {
		if brief.No != e.no {
			return errOtherNumber
		}
		c.count(brief.Session, e.no)
		return nil
	}
	header, err := record.DecodeHeader(e.header)
	if err == nil && header.No != e.no {
		err = errOtherNumber
	}
	if err != nil {
		return err
	}
	if s := c.count([]byte(header.Session), e.no); s != nil {
		s.opened = s.opened || header.Type == record.SessionOpened
		if header.Closed != nil {
			s.closed = header.Closed
		}
	}
	return nil
}

// open opens a file of the bundle.
func (v *verification) open(name string) (fs.File, error) {
	if err := v.checkFile(name); err != nil {
		return nil, err
	}
	file, err := v.bundle.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return file, nil
}
