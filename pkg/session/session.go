// Package session names one intercepted connection, from open to close.
package session

import (
	"crypto/rand"
	"encoding/base32"
	"net/netip"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/workload"
)

// Session is one intercepted connection. It is immutable once Serve has begun.
type Session struct {
	ID          string            `json:"id"`
	Resource    string            `json:"resource"` // the name in the policy
	Protocol    string            `json:"protocol"`
	Destination netip.AddrPort    `json:"destination"` // what the workload asked for; where it has a parent, an address that is known of it
	Workload    workload.Workload `json:"workload"`
	Started     time.Time         `json:"started"`
	Parent      *Parent           `json:"parent,omitempty"` // nil: the workload opened it itself
}

// Parent is where a connection came from that was made through the server of
// another session of the same workload.
type Parent struct {
	Session   string `json:"session"`
	Operation uint64 `json:"operation"` // in that session: which names where it was to go
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewID returns a fresh session id: 80 random bits in 16 characters that a
// person can read aloud and a shell never has to quote.
func NewID() string {
	var raw [10]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the program instead
	return strings.ToLower(idEncoding.EncodeToString(raw[:]))
}
