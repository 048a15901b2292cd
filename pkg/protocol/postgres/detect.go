package postgres

import "bytes"

// quotes reports whether a message of the server that is no row holds
// something that a detector finds.
func (c *conversation) quotes(frame []byte) bool {
	_, _, by := c.catalog.masks.Find(frame[headerSize:])
	return by != nil
}

// dropParameter reports whether a ParameterStatus repeats a secret to the
// client. What it means for us was noted before.
func (c *conversation) dropParameter(s *stream, frame []byte) bool {
	if !c.detects() || !c.quotes(frame) {
		return false
	}
	c.swallow(s, len(frame))
	return true
}

// wordsWithheld reports whether the words of an error or a notice about an
// operation must not be passed on.
func (c *conversation) wordsWithheld(frame []byte, touched bool) bool {
	return c.catalog.needed() && (touched || c.catalog.about(frame)) || c.detects() && c.quotes(frame)
}

// about reports whether an error or a notice says that it is about a tainted
// relation: a foreign key or a trigger leads there from statements that do not
// name it. The table stands in a field of its own where a constraint failed,
// and what ran inside of the statement in the context.
func (c *catalog) about(frame []byte) bool {
	r := reader{b: frame[headerSize:]}
	for kind := r.uint8(); kind != 0 && !r.bad; kind = r.uint8() {
		value := bytes.ToLower(r.cstring())
		if kind != 't' && kind != 'W' && kind != 'q' {
			continue
		}
		for _, known := range c.byName {
			if bytes.Contains(value, bytes.ToLower([]byte(known[0].name))) {
				return true
			}
		}
	}
	return r.bad
}
