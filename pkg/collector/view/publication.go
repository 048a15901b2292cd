package view

import "time"

// Publication is a policy that a person published for agents.
type Publication struct {
	Sequence uint64    `json:"sequence"`
	Agents   []string  `json:"agents"` // patterns of names
	SHA256   string    `json:"sha256"` // empty: the files on the nodes hold again
	By       string    `json:"by"`
	Reason   string    `json:"reason,omitempty"`
	At       time.Time `json:"at"`
}
