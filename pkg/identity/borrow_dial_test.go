package identity_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
)

// dials counts who is dialled, and connects nobody.
type dials struct{ count atomic.Int64 }

func (d *dials) dial(context.Context, string, string) (net.Conn, error) {
	d.count.Add(1)
	return nil, errors.New("not here")
}
