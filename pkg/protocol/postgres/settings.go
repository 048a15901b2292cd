package postgres

import "bytes"

// settings are what the server reports that changes how text is read.
type settings struct {
	utf8       bool // client_encoding: no byte of a character looks like ASCII
	conforming bool // standard_conforming_strings
	folds      bool // server_encoding: names may be folded and cut otherwise than in UTF8
}

// follow reads a ParameterStatus; any other message changes nothing.
func (s *settings) follow(frame []byte) {
	if frame[0] != msgParameterStatus {
		return
	}
	r := reader{b: frame[headerSize:]}
	name, value := r.cstring(), r.cstring()
	switch string(name) {
	case "client_encoding":
		s.utf8 = bytes.EqualFold(value, []byte("UTF8"))
	case "server_encoding":
		s.folds = !bytes.EqualFold(value, []byte("UTF8"))
	case "standard_conforming_strings":
		s.conforming = bytes.Equal(value, []byte("on"))
	}
}

// refusal says why statements could not be understood under these settings.
func (s *settings) refusal() string {
	if !s.utf8 {
		return "client_encoding must be UTF8 here"
	}
	return ""
}
