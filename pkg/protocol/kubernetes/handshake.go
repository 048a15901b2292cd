package kubernetes

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // RFC 6455 has it, for no secret
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/protocol"
)

const (
	// handshakeTime is how long a server may take to upgrade, and a client to open
	// its streams.
	handshakeTime = 30 * time.Second
	// lastWords is how long a client may take to take what it is told when it was
	// not served to its end.
	lastWords = 2 * time.Second
	// maxHandshake is the longest answer to an upgrade, with its body.
	maxHandshake = 64 << 10
)

func validKey(key string) bool {
	nonce, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(nonce) == 16
}

// acceptKey proves that a handshake was understood (RFC 6455, section 4.2.2).
func acceptKey(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

// accept upgrades the client's leg.
func (u *upgraded) accept(chosen string) error {
	conn, ahead, err := http.NewResponseController(u.w).Hijack()
	if err != nil {
		return err
	}
	u.wanted.chosen, u.wanted.offered = chosen, []string{chosen}
	u.client = newLeg(protocol.ClientLeg, conn, ahead.Reader, u.wanted.framing(false, chosen))
	u.client.gone = u.cancel
	answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "
	if u.wanted.websocket {
		answer += "websocket\r\n" + wsAccept + ": " + acceptKey(u.wanted.key) + "\r\n" + wsProtocols
	} else {
		answer += spdyUpgrade + "\r\n" + spdyProtocols
	}
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, answer+": "+chosen+"\r\n\r\n"); err != nil {
		return err
	}
	if u.wanted.websocket && u.server == nil {
		u.client.quiet = time.Now().Add(settling)
	}
	u.wait.Go(func() {
		u.blame(u.client.run(u.streams.fromClient))
		close(u.left)
		u.cancel()
	})
	return nil
}

// linger lets the client read what it was told: a connection that is closed with
// something unread in it takes that away.
func (u *upgraded) linger() {
	if u.client == nil || u.client.write(u.client.framing.bye) != nil {
		return
	}
	if u.leaves(lastWords) {
		return
	}
	if half, ok := u.client.conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	if u.ctx.Err() == nil {
		u.leaves(handshakeTime)
	}
}

// leaves waits for the client to leave, and reports whether it did.
func (u *upgraded) leaves(most time.Duration) bool {
	select {
	case <-u.left:
		return true
	case <-time.After(most):
		return false
	}
}

// lost says to the client why it hears no more of the server.
func (u *upgraded) lost() string {
	if stopped := u.through.Conn().Stopped; stopped != nil {
		if why := stopped(); why != "" {
			return protocol.Printable("sluice: " + why)
		}
	}
	return "sluice: the server is gone"
}

// closeLegs ends what is left of both legs.
func (u *upgraded) closeLegs() {
	u.cancel()
	for _, l := range []*leg{u.client, u.server} {
		if l != nil {
			_ = l.conn.Close()
		}
	}
}

// unreached is why a server upgraded nothing.
type unreached struct {
	httpproxy.Refusal
	status int // of the server's answer; 0: there is none
}

func (n *unreached) code() string {
	if n.status == 0 {
		return ""
	}
	return strconv.Itoa(n.status)
}

// reach upgrades the server's leg.
func (u *upgraded) reach() *unreached {
	away := &unreached{Refusal: httpproxy.Refusal{Code: http.StatusBadGateway, Message: "sluice: the server cannot be reached"}}
	ctx, cancel := context.WithTimeout(u.ctx, handshakeTime)
	defer cancel()
	conn, err := u.through.Dial(ctx)
	if err != nil {
		return away
	}
	u.server = newLeg(protocol.ServerLeg, conn, nil, nil)
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	out := u.through.Outgoing(ctx, u.r, nil)
	key := u.offer(out.Header)
	if err := out.Write(conn); err != nil {
		return away
	}
	limited := &io.LimitedReader{R: conn, N: maxHandshake}
	in := bufio.NewReader(limited)
	answer, err := http.ReadResponse(in, out) //nolint:bodyclose // of 101 there is none, and what else comes is closed with conn
	if err != nil {
		return away
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(answer.Body)
		return u.answered(answer.StatusCode, body)
	}
	chosen, ok := u.agreed(answer.Header, key)
	if !ok {
		u.blame(&protocol.Violation{Leg: protocol.ServerLeg, Reason: "it upgraded to what nobody asked for"})
		return away
	}
	limited.N = math.MaxInt64
	u.wanted.chosen = chosen
	u.server.in, u.server.framing = in, u.wanted.framing(true, chosen)
	return nil
}

// offer says to the server what the client wants, without what else the client
// said about it, and returns the key of the handshake.
func (u *upgraded) offer(h http.Header) (key string) {
	for name := range h {
		if strings.HasPrefix(name, "Sec-Websocket-") {
			h.Del(name)
		}
	}
	h.Del(spdyProtocols)
	h.Del("Origin")
	h.Del("Accept") // a kubelet answers 406 to what asks for JSON alone
	h.Set("Connection", "Upgrade")
	if !u.wanted.websocket {
		h.Set("Upgrade", spdyUpgrade)
		h[http.CanonicalHeaderKey(spdyProtocols)] = slices.Clone(u.wanted.offered)
		return ""
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it never fails
	key = base64.StdEncoding.EncodeToString(nonce[:])
	h.Set("Upgrade", websocketUpgrade)
	h.Set(wsVersion, "13")
	h.Set(wsKey, key)
	h.Set(wsProtocols, strings.Join(u.wanted.offered, ", "))
	return key
}

// agreed returns what the server chose.
func (u *upgraded) agreed(h http.Header, key string) (chosen string, ok bool) {
	name, upgrade := spdyProtocols, spdyUpgrade
	if u.wanted.websocket {
		name, upgrade = wsProtocols, websocketUpgrade
		ok = h.Get(wsAccept) == acceptKey(key) && h.Get(wsExtensions) == ""
	} else {
		ok = true
	}
	protocols := listed(h, name)
	upgrades := listed(h, "Upgrade")
	ok = ok && len(protocols) == 1 && slices.Contains(u.wanted.offered, protocols[0]) &&
		len(upgrades) == 1 && strings.EqualFold(upgrades[0], upgrade)
	if !ok {
		return "", false
	}
	return protocols[0], true
}

// answered is a server's answer that is no upgrade, as the client is told.
func (u *upgraded) answered(status int, body []byte) *unreached {
	var said struct{ Message string }
	no := &unreached{status: status, Refusal: httpproxy.Refusal{Code: status, Message: http.StatusText(status)}}
	if json.Unmarshal(body, &said) == nil && said.Message != "" {
		no.Message = said.Message
	}
	if status < 400 || status > 599 {
		no.Code, no.Message = http.StatusBadGateway, fmt.Sprintf("sluice: the server answered with %d", status)
	}
	clean, hidden := u.clean([]byte(protocol.Printable(no.Message)))
	if bare, said := withoutPolicy(clean); said && len(u.through.Conn().Masks.Kinds) > 0 {
		clean, hidden = bare, hidden+1
	}
	no.Message = string(clean)
	u.op.Hid(hidden)
	if err := u.op.Record(protocol.Response, clean); err != nil {
		u.through.Fail(err)
		no.Message = "sluice: it could not be recorded"
	}
	return no
}

// clean hides secrets in a text that is whole.
func (u *upgraded) clean(text []byte) (safe []byte, hidden int) {
	conn := u.through.Conn()
	if conn.Masks.Empty() {
		return bytes.Clone(text), 0
	}
	safe, hidden, _ = conn.Masks.AppendClean(nil, conn.MaskKey, text) // null leaves nothing
	return safe, hidden
}
