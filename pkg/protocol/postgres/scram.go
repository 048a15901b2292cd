package postgres

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"

	"github.com/xdg-go/stringprep"

	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	scramName          = "SCRAM-SHA-256"
	scramPlusName      = "SCRAM-SHA-256-PLUS"
	maxScramIterations = 1 << 20 // a server that asks for more wants our time, not our proof
)

var errScram = errors.New("the server's SCRAM exchange is not valid")

// scram is a SCRAM-SHA-256 exchange (RFC 5802, RFC 7677), bound to the TLS
// channel where the server offers that. PostgreSQL ignores the user name in it.
type scram struct {
	mechanism string
	header    []byte // gs2-header: what is said of channel binding
	binding   []byte // base64 of header and channel binding data
	password  string
	nonce     []byte
	first     []byte // client-first-message-bare
	signature []byte // the server's, as it must be
}

// newScram chooses among the mechanisms that a server offers; nil if it offers
// none of ours. A client that could have bound the channel says so, so that
// the server notices when somebody took its offer away.
func newScram(offered []byte, in login, password string) *scram {
	s := &scram{mechanism: scramName, header: []byte("n,,"), password: normal(password)}
	switch {
	case in.endpoint != nil && offers(offered, scramPlusName):
		s.mechanism, s.header = scramPlusName, []byte("p=tls-server-end-point,,")
		s.binding = in.endpoint
	case in.endpoint != nil:
		s.header = []byte("y,,")
	}
	if s.mechanism == scramName && !offers(offered, scramName) {
		return nil
	}
	s.binding = base64.StdEncoding.AppendEncode(nil, slices.Concat(s.header, s.binding))
	s.nonce = make([]byte, 24)
	raw := make([]byte, 18)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the program instead
	base64.StdEncoding.Encode(s.nonce, raw)
	s.first = append([]byte("n=,r="), s.nonce...)
	return s
}

// normal is a password as SASLprep leaves it (RFC 4013). One that it does not
// take is used as it stands, as servers do.
func normal(password string) string {
	prepared, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		return password
	}
	return prepared
}

// answer returns client-final-message for server-first-message.
func (s *scram) answer(challenge []byte) ([]byte, error) {
	fields := bytes.Split(challenge, []byte(","))
	if len(fields) != 3 || !bytes.HasPrefix(fields[0], []byte("r=")) ||
		!bytes.HasPrefix(fields[1], []byte("s=")) || !bytes.HasPrefix(fields[2], []byte("i=")) {
		return nil, errScram
	}
	nonce := fields[0][2:]
	salt, err := base64.StdEncoding.DecodeString(string(fields[1][2:]))
	iterations, convErr := strconv.Atoi(string(fields[2][2:]))
	if err != nil || convErr != nil || iterations < 1 || iterations > maxScramIterations ||
		len(nonce) <= len(s.nonce) || !bytes.HasPrefix(nonce, s.nonce) {
		return nil, errScram
	}
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, iterations, sha256.Size)
	if err != nil {
		return nil, errScram
	}
	final := slices.Concat([]byte("c="), s.binding, []byte(",r="), nonce)
	message := bytes.Join([][]byte{s.first, challenge, final}, []byte(","))
	s.signature = mac(mac(salted, []byte("Server Key")), message)
	clientKey := mac(salted, []byte("Client Key"))
	storedKey := sha256.Sum256(clientKey)
	proof := mac(storedKey[:], message)
	subtle.XORBytes(proof, proof, clientKey)
	return base64.StdEncoding.AppendEncode(append(final, ",p="...), proof), nil
}

// verify checks server-final-message: only who knows the password can sign.
func (s *scram) verify(final []byte) bool {
	encoded, ok := bytes.CutPrefix(final, []byte("v="))
	if !ok || s.signature == nil {
		return false
	}
	signature, err := base64.StdEncoding.DecodeString(string(encoded))
	return err == nil && hmac.Equal(signature, s.signature)
}

func mac(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}

// sasl does one step of the exchange.
func (c *conversation) sasl(kind int, body []byte) error {
	switch kind {
	case authSASL:
		if c.login.scram != nil {
			return errAuthentication
		}
		s := newScram(body, c.login, c.conn.Credential.Password)
		if s == nil {
			return errAuthentication
		}
		c.login.scram = s
		c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
			dst, mark := open(dst, msgPassword)
			dst = appendString(dst, s.mechanism)
			dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.header)+len(s.first)))
			return shut(append(append(dst, s.header...), s.first...), mark)
		})
		return nil
	case authSASLContinue:
		if c.login.scram == nil || c.login.scram.signature != nil {
			return errScram
		}
		final, err := c.login.scram.answer(body)
		if err != nil {
			return err
		}
		c.synthesise(protocol.ServerLeg, nil, func(dst []byte) []byte {
			dst, mark := open(dst, msgPassword)
			return shut(append(dst, final...), mark)
		})
		return nil
	}
	if c.login.scram == nil || !c.login.scram.verify(body) {
		return errScram
	}
	c.login.verified = true
	return nil
}

// offers reports whether a list of mechanisms has one.
func offers(list []byte, mechanism string) bool {
	r := reader{b: list}
	for {
		name := r.cstring()
		if r.bad || len(name) == 0 {
			return false
		}
		if string(name) == mechanism {
			return true
		}
	}
}
