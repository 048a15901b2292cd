package translog

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sluicegate/sluice/pkg/record"
)

// maxLines is more lines than any batch has records.
const maxLines = 2 * record.MaxPayload / record.Overhead

// readLine is a line of a records file as it was found.
type readLine struct {
	line
	no  uint64 // that the line says, or that its place says when it cannot be read
	err string // why the line is not what was exported; "" when it may be
}

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
	lines := splitLines(data, v.report.Scope.Kind == OneSession)
	number(lines, b.First, b.First+b.Count)
	intact := v.checkLines(b, lines)
	intact = v.checkNumbers(b, lines) && intact
	leaves := make([]record.Hash, len(lines))
	for i := range lines {
		leaves[i] = lines[i].Leaf
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

// splitLines reads the lines of a records file. hiding says that lines may hold
// a leaf hash only.
func splitLines(data []byte, hiding bool) []readLine {
	var lines []readLine
	for text := range bytes.Lines(data) {
		var l readLine
		var form bytes.Buffer
		switch {
		case json.Unmarshal(text, &l.line) != nil:
			l.err = "the line cannot be read"
		case encodeLine(&form, &l.line) != nil || !bytes.Equal(form.Bytes(), text):
			l.err = "the line is not in the one form that an export has"
		default:
			l.err = l.checkLeaf(hiding)
		}
		lines = append(lines, l)
	}
	return lines
}

// number gives each line its number. An altered line may lie about it, so it is
// believed only when it fits between its neighbours.
func number(lines []readLine, first, end uint64) {
	limits := make([]uint64, len(lines)) // the number of the next line that can be believed
	for i := len(lines) - 1; i >= 0; i-- {
		limits[i] = end
		if lines[i].err == "" {
			end = lines[i].No
		}
	}
	next := first // what the line's number should be
	for i := range lines {
		l := &lines[i]
		l.no = l.No
		if l.err != "" && (l.No < next || l.No >= limits[i]) {
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
	header, body := l.Header != nil && l.SaltHeader != nil, l.Body != nil && l.SaltBody != nil
	if l.Header == nil && l.Body == nil && l.SaltHeader == nil && l.SaltBody == nil && l.BodyHash == nil {
		if hiding {
			return ""
		}
		return "the record was reduced to its leaf hash"
	}
	if !header || body == (l.BodyHash != nil) {
		return "a part of the record is missing"
	}
	commitment := l.BodyHash
	if body {
		hash := record.Commit(*l.SaltBody, []byte(*l.Body))
		commitment = &hash
	}
	if record.Leaf(l.No, record.Commit(*l.SaltHeader, []byte(*l.Header)), *commitment) != l.Leaf {
		return "the record does not fit its leaf hash"
	}
	return ""
}

// session returns the session that the line's header names, altered or not.
func (l *readLine) session() string {
	var h struct {
		Session string `json:"session"`
	}
	if l.Header == nil || json.Unmarshal([]byte(*l.Header), &h) != nil {
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

// keep takes a line that is what its agent signed, and looks at what it says.
// In a batch that is not intact a line whose own leaf fits is likely but not
// proven, so it is not counted.
func (v *verification) keep(b *checkedBatch, l *readLine, proven bool) {
	if l.err != "" || !proven {
		return
	}
	if l.Header == nil {
		v.report.Hidden++
		return
	}
	v.report.Records++
	f := b.finding(RecordInvalid, "")
	f.Record, f.Session = int64(l.No), l.session()
	header, err := record.DecodeHeader([]byte(*l.Header))
	if err != nil {
		f.Detail = err.Error()
		v.find(f)
		return
	}
	if header.No != l.No {
		f.Detail = "its header has another number"
		v.find(f)
		return
	}
	b.entries = append(b.entries, checkedEntry{
		no:      l.No,
		session: header.Session,
		opened:  header.Type == record.SessionOpened,
		closed:  header.Closed,
	})
	if l.BodyHash != nil {
		f.Code, f.Detail = BodyMissing, "its body is withheld"
		v.find(f)
		return
	}
	if _, err := record.DecodeBody([]byte(*l.Body)); err != nil {
		f.Detail = err.Error()
		v.find(f)
	}
}
