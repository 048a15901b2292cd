package translog

import "github.com/sluicegate/sluice/pkg/record"

// Form reads an entry of a bundle as Verify does and writes it again.
func Form(text []byte) (again []byte, ok bool) {
	r := entryReader{rest: text}
	var e readEntry
	r.next(&e)
	if e.err != "" || len(r.rest) > 0 {
		return nil, false
	}
	entry := record.Entry{No: e.no, Header: e.header, Body: e.body, Salt: e.salt}
	if e.kind == destroyed {
		entry.BodyHash = &e.bodyHash
	}
	return appendEntry(nil, &entry, e.leaf, e.kind == hidden), true
}

// Resumes reports how many entries are read where something else stands between
// them.
func Resumes(data []byte) (whole, broken int) {
	for r := (entryReader{rest: data}); len(r.rest) > 0; {
		var e readEntry
		if r.next(&e); e.err == "" {
			whole++
		} else {
			broken++
		}
	}
	return whole, broken
}
