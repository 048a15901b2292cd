package approval

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// The payload types. They are part of what is signed, so that a signature over
// one kind of object is none over another.
const (
	requestType = "application/vnd.sluice.approval-request.v1+json"
	voteType    = "application/vnd.sluice.approval-vote.v1+json"
	rosterType  = "application/vnd.sluice.approval-roster.v1+json"
	orderType   = "application/vnd.sluice.order.v1+json"

	breakGlassType  = "application/vnd.sluice.break-glass.v1+json"
	publicationType = "application/vnd.sluice.policy-publication.v1+json"
	preapprovalType = "application/vnd.sluice.preapproval.v1+json"
)

// maxEnvelope bounds what is decoded, in bytes.
const maxEnvelope = 256 << 10

// ErrSignature reports bytes that the expected key did not sign.
var ErrSignature = errors.New("the signature is not valid")

var errTooLarge = errors.New("the envelope is too large")

// envelope is a DSSE envelope (github.com/secure-systems-lab/dsse, protocol
// v1.0.0) with exactly one signature.
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     []byte      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid"` // fingerprint of the key, as ssh-keygen -l prints it
	Sig   []byte `json:"sig"`
}

// seal encodes a value and signs it.
func seal(payloadType string, value any, key crypto.Signer) ([]byte, error) {
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("the key is not an Ed25519 key")
	}
	keyID, err := fingerprint(public)
	if err != nil {
		return nil, err
	}
	payload, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("encode payload: %w", err)
	}
	sig, err := key.Sign(nil, preAuth(payloadType, payload), crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	sealed, err := json.Marshal(envelope{payloadType, payload, []signature{{keyID, sig}}})
	if err != nil {
		return nil, fmt.Errorf("encode envelope: %w", err)
	}
	if len(sealed) > maxEnvelope {
		return nil, fmt.Errorf("%w: it is %d bytes, and at most %d are allowed", errTooLarge, len(sealed), maxEnvelope)
	}
	return sealed, nil
}

// parseEnvelope reads an envelope of the wanted type. The signature is still
// to be checked.
func parseEnvelope(sealed []byte, payloadType string) (envelope, error) {
	var e envelope
	if err := decodeExactly(sealed, &e); err != nil {
		return envelope{}, fmt.Errorf("decode envelope: %w", err)
	}
	if e.PayloadType != payloadType {
		return envelope{}, fmt.Errorf("decode envelope: the payload is not of type %s", payloadType)
	}
	if len(e.Signatures) != 1 {
		return envelope{}, errors.New("decode envelope: there must be one signature")
	}
	return e, nil
}

// verify reports whether key signed the envelope. The key id, which the
// signature does not cover, must be the key's own, so that nobody can change a
// single byte of an envelope.
func (e envelope) verify(key ed25519.PublicKey) error {
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, preAuth(e.PayloadType, e.Payload), e.Signatures[0].Sig) {
		return ErrSignature
	}
	if keyID, err := fingerprint(key); err != nil || keyID != e.Signatures[0].KeyID {
		return ErrSignature
	}
	return nil
}

// open verifies an envelope and then decodes its payload.
func open(sealed []byte, payloadType string, key ed25519.PublicKey, value any) error {
	e, err := parseEnvelope(sealed, payloadType)
	if err != nil {
		return err
	}
	if err := e.verify(key); err != nil {
		return err
	}
	if err := decodeExactly(e.Payload, value); err != nil {
		return fmt.Errorf("decode payload: %w", err)
	}
	return nil
}

// preAuth is DSSE's pre-authentication encoding: what is signed.
func preAuth(payloadType string, payload []byte) []byte {
	out := []byte("DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " ")
	return append(out, payload...)
}

// decodeExactly decodes JSON that is written as we write it and no other way.
// It refuses unknown, repeated and differently spelled names, which two
// readers could take differently.
func decodeExactly(data []byte, value any) error {
	if len(data) > maxEnvelope {
		return fmt.Errorf("%d bytes are too many", len(data))
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more after the end")
	}
	again, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if !bytes.Equal(again, data) {
		return errors.New("the JSON is not in its canonical form")
	}
	return nil
}
