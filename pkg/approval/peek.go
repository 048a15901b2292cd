package approval

// Peek returns what a signed request says without asking who signed it. It is
// for showing what was verified when it came, and decides nothing.
func Peek(signed []byte) (Request, error) {
	e, err := parseEnvelope(signed, requestType)
	if err != nil {
		return Request{}, err
	}
	var r Request
	return r, decodeExactly(e.Payload, &r)
}
