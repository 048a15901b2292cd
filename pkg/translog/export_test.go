package translog

import (
	"bytes"
	"encoding/json"
)

// FastForm reads a line as Verify does and writes it again.
func FastForm(text []byte) (again []byte, ok bool) {
	l, ok := newLineReader().read(text)
	if !ok {
		return nil, false
	}
	out := line{No: l.no, Leaf: l.leaf}
	if l.has&hasSaltHeader != 0 {
		out.SaltHeader = &l.saltHeader
	}
	if l.has&hasSaltBody != 0 {
		out.SaltBody = &l.saltBody
	}
	if l.has&hasBodyHash != 0 {
		out.BodyHash = &l.bodyHash
	}
	if l.has&hasHeader != 0 {
		header := string(l.header)
		out.Header = &header
	}
	if l.has&hasBody != 0 {
		body := string(l.body)
		out.Body = &body
	}
	var form bytes.Buffer
	if encodeLine(&form, &out) != nil {
		return nil, true
	}
	return form.Bytes(), true
}

// SlowForm reads a line with encoding/json and writes it again.
func SlowForm(text []byte) (again []byte, ok bool) {
	var l line
	if json.Unmarshal(text, &l) != nil {
		return nil, false
	}
	var form bytes.Buffer
	if encodeLine(&form, &l) != nil {
		return nil, false
	}
	return form.Bytes(), true
}
