package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/websocket"
	"github.com/moby/spdystream"
)

// podServer is the part of an API server and a kubelet that opens streams, with
// the libraries that they use. Its programs run on this machine.
type podServer struct {
	mu       sync.Mutex
	requests []*http.Request // guarded by mu
	sizes    string          // of terminals; guarded by mu
	running  int             // programs; guarded by mu
	raw      func(net.Conn)  // speaks after an upgrade, in place of a program; guarded by mu
	refuses  int             // a code to answer exec with; guarded by mu
}

func newPodServer() *podServer { return &podServer{} }

// speak has what answers an upgrade speak for itself.
func (p *podServer) speak(raw func(net.Conn)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.raw = raw
}

// refuse answers exec with a code.
func (p *podServer) refuse(code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = code
}

const pod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"shop","uid":"1"},
"spec":{"containers":[{"name":"main","image":"x","stdin":true,"tty":false}]},"status":{"phase":"Running","containerStatuses":[{"name":"main","ready":true}]}}`

func (p *podServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.requests = append(p.requests, r)
	p.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case strings.HasSuffix(r.URL.Path, "/exec"), strings.HasSuffix(r.URL.Path, "/attach"):
		p.exec(w, r)
	case strings.HasSuffix(r.URL.Path, "/portforward"):
		p.forward(w, r)
	case strings.HasSuffix(r.URL.Path, "/pods/web"):
		_, _ = io.WriteString(w, pod)
	case r.URL.Path == "/api":
		_, _ = io.WriteString(w, `{"kind":"APIVersions","versions":["v1"]}`)
	case r.URL.Path == "/apis":
		_, _ = io.WriteString(w, `{"kind":"APIGroupList","apiVersion":"v1","groups":[]}`)
	case r.URL.Path == "/api/v1":
		_, _ = io.WriteString(w, `{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get","list"]}]}`)
	default:
		http.NotFound(w, r)
	}
}

// pipes are the streams of a program.
type pipes struct {
	in             io.Reader
	out, errs      io.Writer
	failure        io.Writer
	sizes          io.Reader
	endOut, endErr func()
	end            func()
}

func (p *podServer) exec(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	code, raw := p.refuses, p.raw
	p.mu.Unlock()
	if code != 0 {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","message":"the kubelet says no","code":%d}`, code)
		return
	}
	var s *pipes
	if websocket.IsWebSocketUpgrade(r) {
		s = p.overWebSocket(w, r, raw)
	} else {
		s = p.overSPDY(w, r, raw)
	}
	if s == nil {
		return
	}
	defer s.end()
	if s.sizes != nil {
		go p.resize(s.sizes)
	}
	p.run(r, s)
}

func (p *podServer) resize(from io.Reader) {
	for d := json.NewDecoder(from); ; {
		var size struct{ Width, Height int }
		if d.Decode(&size) != nil {
			return
		}
		p.mu.Lock()
		p.sizes += fmt.Sprintf("%dx%d ", size.Width, size.Height)
		p.mu.Unlock()
	}
}

// run runs the command, until its stdin and its streams are gone.
func (p *podServer) run(r *http.Request, s *pipes) {
	argv := r.URL.Query()["command"]
	if len(argv) == 0 {
		argv = []string{"cat"}
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = s.out, s.errs
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		_, _ = fmt.Fprintf(s.failure, `{"status":"Failure","reason":"InternalError","message":"it cannot be started","code":500}`)
		return
	}
	p.count(1)
	defer p.count(-1)
	if s.in != nil {
		go func() {
			_, gone := io.Copy(in, s.in)
			_ = in.Close()
			if gone != nil {
				_ = cmd.Process.Kill() // as a kubelet does when the client has gone
			}
		}()
	} else {
		_ = in.Close()
	}
	_ = cmd.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		_, _ = fmt.Fprintf(s.failure, `{"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode","message":"%d"}]}}`, code)
	} else {
		_, _ = io.WriteString(s.failure, `{"metadata":{},"status":"Success"}`)
	}
	s.endOut()
	s.endErr()
}

func (p *podServer) count(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running += n
}

func (p *podServer) counted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.running
}

// spdyLeg answers the upgrade, and gives the streams that the client opens.
func (p *podServer) spdyLeg(w http.ResponseWriter, protocol string, raw func(net.Conn)) (*spdystream.Connection, chan *spdystream.Stream) {
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "SPDY/3.1")
	w.Header().Set("X-Stream-Protocol-Version", protocol)
	w.WriteHeader(http.StatusSwitchingProtocols)
	plain, ahead, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	conn := buffered{plain, ahead.Reader}
	if raw != nil {
		defer func() { _ = conn.Close() }()
		raw(conn)
		return nil, nil
	}
	return serveSPDY(conn)
}

// buffered is a connection of which something was read already.
type buffered struct {
	net.Conn
	ahead io.Reader
}

func (b buffered) Read(p []byte) (int, error) { return b.ahead.Read(p) }

func serveSPDY(conn net.Conn) (*spdystream.Connection, chan *spdystream.Stream) {
	leg, err := spdystream.NewConnection(conn, true)
	if err != nil {
		panic(err)
	}
	opened := make(chan *spdystream.Stream, 16)
	go leg.Serve(func(stream *spdystream.Stream) {
		opened <- stream
		_ = stream.SendReply(http.Header{}, false)
	})
	return leg, opened
}

func (p *podServer) overSPDY(w http.ResponseWriter, r *http.Request, raw func(net.Conn)) *pipes {
	if !slices.Contains(strings.Split(strings.Join(r.Header.Values("X-Stream-Protocol-Version"), ","), ","), "v4.channel.k8s.io") {
		http.Error(w, "v4", http.StatusForbidden)
		return nil
	}
	leg, opened := p.spdyLeg(w, "v4.channel.k8s.io", raw)
	if leg == nil {
		return nil
	}
	s := &pipes{end: func() { _ = leg.Close() }}
	query := r.URL.Query()
	wanted := []string{"error"}
	for name, parameter := range map[string]string{"stdin": "stdin", "stdout": "stdout", "stderr": "stderr", "resize": "tty"} {
		if query.Get(parameter) == "true" && (name != "stderr" || query.Get("tty") != "true") {
			wanted = append(wanted, name)
		}
	}
	s.out, s.errs, s.endOut, s.endErr = io.Discard, io.Discard, func() {}, func() {}
	for range wanted {
		stream := <-opened
		switch stream.Headers().Get("streamType") {
		case "stdin":
			s.in = stream
		case "stdout":
			s.out, s.endOut = stream, func() { _ = stream.Close() }
		case "stderr":
			s.errs, s.endErr = stream, func() { _ = stream.Close() }
		case "error":
			s.failure = stream
		case "resize":
			s.sizes = stream
		}
	}
	return s
}

// channel is one channel of a WebSocket.
type channel struct {
	number byte
	mu     *sync.Mutex
	conn   *websocket.Conn
}

func (c channel) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(b), c.conn.WriteMessage(websocket.BinaryMessage, append([]byte{c.number}, b...))
}

func (p *podServer) overWebSocket(w http.ResponseWriter, r *http.Request, raw func(net.Conn)) *pipes {
	upgrader := websocket.Upgrader{Subprotocols: []string{"v5.channel.k8s.io", "v4.channel.k8s.io"}}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil
	}
	if raw != nil {
		defer func() { _ = conn.Close() }()
		raw(conn.NetConn())
		return nil
	}
	in, toIn := io.Pipe()
	sizes, toSizes := io.Pipe()
	go func() {
		for {
			_, message, err := conn.ReadMessage()
			switch {
			case err != nil:
				_ = toIn.CloseWithError(err)
				_ = toSizes.CloseWithError(err)
				return
			case message[0] == 0:
				_, _ = toIn.Write(message[1:])
			case message[0] == 4:
				_, _ = toSizes.Write(message[1:])
			case message[0] == 255 && message[1] == 0:
				_ = toIn.Close()
			}
		}
	}()
	var mu sync.Mutex
	return &pipes{
		in: in, sizes: sizes, out: channel{1, &mu, conn}, errs: channel{2, &mu, conn}, failure: channel{3, &mu, conn},
		endOut: func() {}, endErr: func() {}, end: func() {
			mu.Lock()
			defer mu.Unlock()
			_ = conn.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""))
			_ = conn.Close()
		},
	}
}

// messages is a WebSocket as a stream of bytes.
type messages struct {
	*websocket.Conn
	rest io.Reader
}

func (m *messages) Read(b []byte) (int, error) {
	for {
		if m.rest == nil {
			_, next, err := m.NextReader()
			if err != nil {
				return 0, io.EOF
			}
			m.rest = next
		}
		n, err := m.rest.Read(b)
		if err != nil {
			m.rest = nil
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (m *messages) Write(b []byte) (int, error) {
	return len(b), m.WriteMessage(websocket.BinaryMessage, b)
}

type tunnelled struct {
	net.Conn
	*messages
}

func (t tunnelled) Read(b []byte) (int, error)  { return t.messages.Read(b) }
func (t tunnelled) Write(b []byte) (int, error) { return t.messages.Write(b) }
func (t tunnelled) Close() error                { return t.Conn.Close() }
func (t tunnelled) LocalAddr() net.Addr         { return t.Conn.LocalAddr() }
func (t tunnelled) RemoteAddr() net.Addr        { return t.Conn.RemoteAddr() }

// forward connects to ports of this machine.
func (p *podServer) forward(w http.ResponseWriter, r *http.Request) {
	var leg *spdystream.Connection
	var opened chan *spdystream.Stream
	if websocket.IsWebSocketUpgrade(r) {
		upgrader := websocket.Upgrader{Subprotocols: []string{"SPDY/3.1+portforward.k8s.io"}}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		leg, opened = serveSPDY(tunnelled{conn.NetConn(), &messages{Conn: conn}})
	} else {
		leg, opened = p.spdyLeg(w, "portforward.k8s.io", nil)
	}
	pairs := map[string]map[string]*spdystream.Stream{}
	for {
		select {
		case stream := <-opened:
			id := stream.Headers().Get("requestID")
			if pairs[id] == nil {
				pairs[id] = map[string]*spdystream.Stream{}
			}
			pairs[id][stream.Headers().Get("streamType")] = stream
			if len(pairs[id]) == 2 {
				go connect(pairs[id]["data"], pairs[id]["error"])
			}
		case <-leg.CloseChan():
			return
		}
	}
}

func connect(data, failure *spdystream.Stream) {
	defer func() { _ = data.Close(); _ = failure.Close() }()
	conn, err := net.Dial("tcp", "127.0.0.1:"+data.Headers().Get("port"))
	if err != nil {
		_, _ = io.WriteString(failure, "the port is closed")
		return
	}
	go func() {
		_, _ = io.Copy(conn, data)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(data, conn)
	_ = conn.Close()
}
