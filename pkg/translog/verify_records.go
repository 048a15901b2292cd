package translog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluicegate/sluice/pkg/record"
)

// maxLines is more lines than any batch has records.
const maxLines = 2 * record.MaxRecords

// checkRecords compares the records of a batch with the root that its agent
// signed. The root alone would say that something in the batch was changed;
// the leaf hash on each line says what: it either fits its own line or it does
// not, and only the true leaf hashes give the root.
func (v *verification) checkRecords(b *checkedBatch) {
	data, err := v.read(v.fileOf("records", b.index))
	if err != nil {
		v.find(b.finding(RecordDeleted, "its records are not in the bundle: "+err.Error()))
		return
	}
	if n := bytes.Count(data, []byte("\n")); n > maxLines {
		v.find(b.finding(BundleMalformed, fmt.Sprintf("%d lines of records", n)))
		return
	}
	lines := v.splitLines(data)
	number(lines, b.First, b.First+b.Count)
	intact := v.checkLines(b, lines)
	intact = v.checkNumbers(b, lines) && intact
	leaves := make([]record.Hash, len(lines))
	for i := range lines {
		leaves[i] = lines[i].leaf
	}
	if intact && record.Root(leaves) != b.Root {
		f := b.finding(RecordAltered, fmt.Sprintf("records %d to %d and their leaf hashes do not give the root that the agent signed", b.First, b.First+b.Count-1))
		if b.Count == 0 {
			f.Detail = "the batch is empty and its root is not"
		}
		f.Record = int64(b.First)
		v.find(f)
		return
	}
	b.whole = intact
	for i := range lines {
		v.keep(b, &lines[i], intact)
	}
}

// splitLines reads the lines of a records file.
func (v *verification) splitLines(data []byte) []readLine {
	hiding := v.report.Scope.Kind == OneSession
	lines := make([]readLine, 0, bytes.Count(data, []byte("\n"))+1)
	for text := range bytes.Lines(data) {
		l, ok := v.lines.read(text)
		if ok {
			l.err = l.checkLeaf(hiding)
		} else {
			l = readAnyway(text)
		}
		lines = append(lines, l)
	}
	return lines
}

// readAnyway learns what it can of a line that is not in its form, so that the
// finding can name the record.
func readAnyway(text []byte) readLine {
	var said line
	if json.Unmarshal(text, &said) != nil {
		return readLine{no: said.No, err: "the line cannot be read"}
	}
	l := readLine{no: said.No, leaf: said.Leaf, err: "the line is not in the one form that an export has"}
	if said.Header != nil {
		l.header = []byte(*said.Header)
	}
	return l
}

// number gives each line its number. An altered line may lie about it, so it is
// believed only when it fits between its neighbours.
func number(lines []readLine, first, end uint64) {
	limits := make([]uint64, len(lines)) // the number of the next line that can be believed
	for i := len(lines) - 1; i >= 0; i-- {
		limits[i] = end
		if lines[i].err == "" {
			end = lines[i].no
		}
	}
	next := first // what the line's number should be
	for i := range lines {
		l := &lines[i]
		if l.err != "" && (l.no < next || l.no >= limits[i]) {
			l.no = next
		}
		next = l.no + 1
	}
}

// checkLines reports each line whose content does not fit its own leaf hash.
func (v *verification) checkLines(b *checkedBatch, lines []readLine) bool {
	intact := true
	for i := range lines {
		l := &lines[i]
		if l.err == "" {
			continue
		}
		intact = false
		f := b.finding(RecordAltered, l.err)
		f.Record, f.Session = int64(l.no), l.session()
		v.find(f)
	}
	return intact
}

// checkLeaf says what is wrong with a line in itself. hiding says that lines
// may hold a leaf hash only.
func (l *readLine) checkLeaf(hiding bool) string {
	switch {
	case l.has == hiddenLine && hiding:
		return ""
	case l.has == hiddenLine:
		return "the record was reduced to its leaf hash"
	case l.has == wholeLine:
		l.bodyHash = record.Commit(l.saltBody, l.body)
	case l.has != shreddedLine:
		return "a part of the record is missing"
	}
	if record.Leaf(l.no, record.Commit(l.saltHeader, l.header), l.bodyHash) != l.leaf {
		return "the record does not fit its leaf hash"
	}
	return ""
}

// session returns the session that the line's header names, altered or not.
func (l *readLine) session() string {
	var h struct {
		Session string `json:"session"`
	}
	if json.Unmarshal(l.header, &h) != nil {
		return ""
	}
	return h.Session
}

// checkNumbers compares the numbers of the lines with those that the batch
// states.
func (v *verification) checkNumbers(b *checkedBatch, lines []readLine) bool {
	intact := true
	report := func(code Code, no uint64, session, detail string) {
		intact = false
		f := b.finding(code, detail)
		f.Record, f.Session = int64(no), session
		v.find(f)
	}
	if inOrder(b, lines) {
		return true
	}
	there := map[uint64]bool{}
	var last uint64
	for i := range lines {
		no := lines[i].no
		switch {
		case no < b.First || no >= b.First+b.Count:
			report(RecordAdded, no, lines[i].session(), "the batch has no record of this number")
		case there[no]:
			report(RecordAdded, no, lines[i].session(), "the record is there twice")
		case len(there) > 0 && no < last:
			report(Reordered, no, lines[i].session(), fmt.Sprintf("the record stands after record %d", last))
		}
		there[no] = true
		last = max(last, no)
	}
	for no := b.First; no < b.First+b.Count; no++ {
		if !there[no] {
			report(RecordDeleted, no, "", "the record is not in the bundle")
		}
	}
	return intact
}

// inOrder reports whether each number is at its place, as it nearly always is.
func inOrder(b *checkedBatch, lines []readLine) bool {
	for i := range lines {
		if lines[i].no != b.First+uint64(i) {
			return false
		}
	}
	return uint64(len(lines)) == b.Count
}

// keep takes a line that is what its agent signed, and looks at what it says.
// In a batch that is not intact a line whose own leaf fits is likely but not
// proven, so it is not counted.
func (v *verification) keep(b *checkedBatch, l *readLine, proven bool) {
	if l.err != "" || !proven {
		return
	}
	if l.has == hiddenLine {
		v.report.Hidden++
		return
	}
	v.report.Records++
	report := func(code Code, detail string) {
		f := b.finding(code, detail)
		f.Record, f.Session = int64(l.no), l.session()
		v.find(f)
	}
	header, err := record.DecodeHeader(l.header)
	if err == nil && header.No != l.no {
		err = errors.New("its header has another number")
	}
	if err != nil {
		report(RecordInvalid, err.Error())
		return
	}
	b.entries = append(b.entries, checkedEntry{
		no:      l.no,
		session: header.Session,
		opened:  header.Type == record.SessionOpened,
		closed:  header.Closed,
	})
	switch {
	case l.has != shreddedLine:
		if _, err := record.DecodeBody(l.body); err != nil {
			report(RecordInvalid, err.Error())
		}
	case v.isShredded(b.index, l.no):
		v.report.Shredded++
	default:
		report(BodyMissing, "its body is not there, and no shredding says why")
	}
}
