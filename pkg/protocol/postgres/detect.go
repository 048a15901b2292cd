package postgres

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
	return touched && c.catalog.needed() || c.detects() && c.quotes(frame)
}
