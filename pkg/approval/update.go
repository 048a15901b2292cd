package approval

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Update is what the collector tells an agent about one request: the number it
// gave to it, or a vote. Exactly one is set. The bus says which request it is
// about, and nothing in it is believed: a number is for people to talk about,
// and a vote proves itself.
type Update struct {
	Number uint64 `json:"number,omitempty"`
	Vote   []byte `json:"vote,omitempty"` // as SignVote returned it
}

// EncodeUpdate writes an update.
func EncodeUpdate(u Update) ([]byte, error) {
	if err := u.validate(); err != nil {
		return nil, fmt.Errorf("encode approval update: %w", err)
	}
	return json.Marshal(u)
}

// DecodeUpdate reads what EncodeUpdate wrote, and nothing else.
func DecodeUpdate(message []byte) (Update, error) {
	var u Update
	if err := decodeExactly(message, &u); err != nil {
		return Update{}, fmt.Errorf("decode approval update: %w", err)
	}
	if err := u.validate(); err != nil {
		return Update{}, fmt.Errorf("decode approval update: %w", err)
	}
	return u, nil
}

func (u Update) validate() error {
	if (u.Number == 0) == (len(u.Vote) == 0) {
		return errors.New("it must hold a number or a vote")
	}
	return nil
}
