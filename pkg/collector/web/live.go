package web

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/store"
)

const (
	liveEvery = 250 * time.Millisecond // the least time between two updates
	liveAgain = 5 * time.Second        // an update's time limit, and when time alone changes a page
	liveFor   = 15 * time.Minute       // then the browser connects anew, with a login that still holds
)

// live streams a list as server-sent events, whenever what this visitor may
// see of it is different. Login, roles and scope are looked at again for every
// update, so that a stream ends with the login that it began with.
func (c *console) live(name string, load func(*visit) (any, error)) func(*visit) error {
	return func(v *visit) error {
		out := http.NewResponseController(v.w)
		if err := out.SetWriteDeadline(time.Now().Add(liveFor)); err != nil {
			return err
		}
		v.w.Header().Set("Content-Type", "text/event-stream")
		v.w.Header().Set("X-Accel-Buffering", "no")
		end := time.NewTimer(liveFor - time.Second)
		defer end.Stop()
		var last uint64
		for {
			moved := c.Store.Moved()
			html, err := c.fragment(v, name, load)
			if err != nil {
				return nil //nolint:nilerr // the stream has begun; the browser asks again and is told then
			}
			if sum := sumOf(html); sum != last {
				last = sum
				if err := send(v.w, out, html); err != nil {
					return nil //nolint:nilerr // the browser has gone
				}
			}
			select {
			case <-moved:
			case <-time.After(liveAgain):
			case <-end.C:
				return nil
			case <-c.Stopping:
				return nil
			case <-v.ctx().Done():
				return nil
			}
			select {
			case <-time.After(liveEvery):
			case <-v.ctx().Done():
				return nil
			}
			again, err := c.who(v.w, v.r)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return nil //nolint:nilerr // as above
			}
			again.sees = again.by.Sees(decider...)
			if name == "sessions" {
				again.sees = again.by.Sees(seer...)
			}
			v = again
		}
	}
}

// fragment renders the part of a list's page that changes.
func (c *console) fragment(v *visit, name string, load func(*visit) (any, error)) ([]byte, error) {
	data, err := load(v)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = templates[name].ExecuteTemplate(&out, "entries", data)
	return out.Bytes(), err
}

func sumOf(html []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(html) // a hash never fails to write
	return h.Sum64()
}

// send writes one event; each line of it is a line of data.
func send(w http.ResponseWriter, out *http.ResponseController, html []byte) error {
	for line := range bytes.Lines(html) {
		if _, err := fmt.Fprintf(w, "data: %s\n", bytes.TrimRight(line, "\r\n")); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprint(w, "\n"); err != nil {
		return err
	}
	return out.Flush()
}
