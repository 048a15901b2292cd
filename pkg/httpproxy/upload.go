package httpproxy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sluicegate/sluice/pkg/protocol"
)

// upload is a body that is longer than what is held of one: it is forwarded as
// it comes, each piece once it is recorded.
type upload struct {
	x        *exchange
	received *http.Request
	stream   protocol.Stream // that it is recorded as
	from     *patientBody
	closed   atomic.Bool // nobody is to read it any more

	mu    sync.Mutex // of who reads; the digest is that of what is recorded
	held  []byte     // of the beginning, which was read to know how long it is; guarded by mu
	sum   hash.Hash  // of what was recorded; guarded by mu
	size  int64      // likewise
	ended error      // io.EOF: it is whole; guarded by mu
	fault *fault     // that ended it; guarded by mu
}

// fault is why a body was cut off.
type fault struct {
	*Refusal
	status protocol.Status // of the operation
}

var errCut = errors.New("nobody reads the body any more")

// uploads are the methods whose bodies may be of any length.
var uploads = []string{http.MethodPost, http.MethodPut, http.MethodPatch}

// lengthen has a body that is too long to be held forwarded as it comes, where
// the plug-in can do without reading it.
func (x *exchange) lengthen() error {
	if x.session.site.Streamed == nil || !slices.Contains(uploads, x.r.Method) {
		return &Refusal{Code: http.StatusRequestEntityTooLarge, Message: "sluice: the body is larger than 4 MiB"}
	}
	x.upload = &upload{x: x, received: x.r, stream: protocol.Request, from: x.patient(), held: x.body.bytes, sum: sha256.New()}
	if isFile(x.r) {
		x.upload.stream = protocol.Input
	}
	return nil
}

// isFile reports whether a body is called a file, whose digest tells enough, and
// not what servers read as a command: that is recorded whole, so that nobody hides
// one behind 4 MiB of blanks.
func isFile(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return r.Method == http.MethodPut && r.Header.Get("Content-Type") == "" // as curl -T sends one
	}
	kind, of, _ := strings.Cut(media, "/")
	return kind != "text" && media != "application/x-www-form-urlencoded" &&
		!strings.Contains(of, "json") && !strings.Contains(of, "xml") && !strings.Contains(of, "yaml") && !strings.Contains(of, "graphql")
}

// Read implements io.Reader. Its errors are none of the network's: those of
// the server's leg are told from them.
func (u *upload) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil {
		return 0, u.ended
	}
	n, err := u.next(p)
	if err != nil {
		u.end(err)
	}
	if n == 0 {
		return 0, u.ended
	}
	u.sum.Write(p[:n])
	u.size += int64(n)
	if u.ended == nil && u.size == u.received.ContentLength {
		u.ended = io.EOF // a server may answer before anybody reads on
	}
	if err := u.x.asked.Digested(u.stream, p[:n], u.digest); err != nil {
		u.unrecorded(err)
		return 0, u.ended
	}
	return n, u.ended
}

// next reads a piece, of what is held first. Its room is given back with it.
func (u *upload) next(p []byte) (int, error) {
	if len(u.held) == 0 {
		return u.from.Read(p)
	}
	n := copy(p, u.held)
	if u.held = u.held[n:]; len(u.held) == 0 {
		u.held = nil
		u.x.body.close()
	}
	return n, nil
}

// end notes how the reading ended. mu is held.
func (u *upload) end(err error) {
	u.ended = errCut
	switch {
	case u.closed.Load():
	case errors.Is(err, io.EOF) && len(u.received.Trailer) == 0:
		u.ended = io.EOF
	case errors.Is(err, io.EOF), errors.Is(err, errTrailer):
		u.fault = &fault{&Refusal{Code: http.StatusBadRequest, Message: "sluice: a trailer is not understood"}, protocol.Refused}
	case errors.Is(err, os.ErrDeadlineExceeded):
		u.fault = &fault{&Refusal{Code: http.StatusRequestTimeout, Message: "sluice: the body took too long"}, protocol.Abandoned}
	default:
		u.fault = &fault{&Refusal{Code: http.StatusBadRequest, Message: "sluice: the body cannot be read"}, protocol.Abandoned}
	}
}

// unrecorded ends it for a piece that must not be forwarded. mu is held.
func (u *upload) unrecorded(err error) {
	u.ended = errCut
	if errors.Is(err, protocol.ErrEnded) {
		return
	}
	u.fault = &fault{&Refusal{Code: http.StatusServiceUnavailable, Message: "sluice: what was sent could not be recorded, so it went no further"}, protocol.Refused}
	u.x.session.Fail(err)
}

// Close ends who reads it, and waits for the piece that is on its way. Behind it
// nothing more is recorded.
func (u *upload) Close() error {
	u.closed.Store(true)
	_ = u.from.Close() // which only ends a Read
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended == nil {
		u.ended = errCut
	}
	return nil
}

// digest is that of what was recorded so far, the piece included that is being
// recorded. mu is held, or the upload is closed.
func (u *upload) digest() string {
	of := protocol.SoFar
	if errors.Is(u.ended, io.EOF) {
		of = protocol.Whole
	}
	return of + hex.EncodeToString(u.sum.Sum(nil))
}

// close ends it, and says in the outcome what of it was forwarded. nil is allowed.
func (u *upload) close(outcome *protocol.Outcome) {
	if u == nil {
		return
	}
	_ = u.Close() // has no error
	cut := ""
	if !errors.Is(u.ended, io.EOF) {
		cut = ", cut off"
	}
	if outcome.Tag != "" {
		outcome.Tag += "; "
	}
	outcome.Tag += fmt.Sprintf("sent %d bytes, sha256:%x%s", u.size, u.sum.Sum(nil), cut)
}

// faulty is why it was cut off; nil: it was not, or by nobody's fault.
func (u *upload) faulty() *fault {
	if u == nil {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fault
}
