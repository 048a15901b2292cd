package kubernetes

import (
	"context"
	"sync"
)

// maxInput is how much of a stream may have come that is not forwarded yet,
// because nobody has decided or the server does not take it. When there is more
// the leg is not read.
const maxInput = 256 << 10

// input is what came of a client's streams and is still to be forwarded.
type input struct {
	most int // bytes that may wait

	mu      sync.Mutex
	changed *sync.Cond
	bytes   []byte // guarded by mu
	ended   bool   // no more bytes come; guarded by mu
	said    bool   // that the bytes have ended; guarded by mu
	size    string // of the terminal, the newest; "" once it was taken; guarded by mu
	over    bool   // nobody takes anything any more; guarded by mu
}

func newInput(ctx context.Context, most int) *input {
	in := &input{most: most}
	in.changed = sync.NewCond(&in.mu)
	context.AfterFunc(ctx, in.close)
	return in
}

// put waits until there is room. What nobody takes any more is dropped.
func (in *input) put(data []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.bytes) > 0 && len(in.bytes)+len(data) > in.most && !in.over {
		in.changed.Wait()
	}
	if in.over {
		return
	}
	in.bytes = append(in.bytes, data...)
	in.changed.Broadcast()
}

// end says that no more bytes come.
func (in *input) end() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	in.changed.Broadcast()
}

// close lets go of everybody who waits.
func (in *input) close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.over = true
	in.bytes = nil
	in.changed.Broadcast()
}

// resize takes the newest size of the terminal. Those between are of no use.
func (in *input) resize(size string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.size = size
	in.changed.Broadcast()
}

// next waits for something to forward: bytes, which it appends to dst, a size, or
// that the bytes have ended. more is false when nobody is to forward anything.
func (in *input) next(dst []byte) (bytes []byte, size string, ended, more bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.bytes) == 0 && in.size == "" && !in.over && (!in.ended || in.said) {
		in.changed.Wait()
	}
	if in.over {
		return dst, "", false, false
	}
	size, in.size = in.size, ""
	n := min(len(in.bytes), pieceBytes)
	dst = append(dst, in.bytes[:n]...)
	in.bytes = in.bytes[:copy(in.bytes, in.bytes[n:])]
	if in.ended && !in.said && len(in.bytes) == 0 {
		in.said, ended = true, true
	}
	in.changed.Broadcast()
	return dst, size, ended, true
}
