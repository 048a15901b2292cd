package trust_test

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// edited is a connection whose client's bytes somebody changes on their way.
type edited struct {
	net.Conn
	edit  func(written int, b []byte) []byte
	count int
}

func (e *edited) Write(b []byte) (int, error) {
	out := e.edit(e.count, b)
	e.count++
	if _, err := e.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

// greet lets a client with a configuration ask an authority that knows a.lab and
// b.lab, and returns what it asked for in the end, what the authority was asked,
// and the client's error.
func greet(t *testing.T, client *tls.Config, adjust func(*tls.Config), edit func(int, []byte) []byte) (seen string, asked []string, err error) {
	t.Helper()
	a, root := authority(t, shop)
	config := a.ConfigBy(netip.MustParseAddr("192.0.2.7"), func(name string) ([]string, bool) {
		asked = append(asked, name)
		return []string{"pg.lab"}, name == "a.pg.lab" || name == "b.pg.lab"
	})
	if adjust != nil {
		adjust(config)
	}
	client.RootCAs = x509.NewCertPool()
	client.RootCAs.AppendCertsFromPEM(root)
	near, far := connected(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	server := tls.Server(far, config)
	served := make(chan error, 1)
	go func() {
		err := server.HandshakeContext(ctx)
		if err != nil {
			_ = far.Close()
		}
		served <- err
	}()
	if edit == nil {
		edit = func(_ int, b []byte) []byte { return b }
	}
	shaken := tls.Client(&edited{Conn: near, edit: edit}, client)
	err = shaken.HandshakeContext(ctx)
	if err == nil && shaken.ConnectionState().DidResume {
		t.Error("a session was resumed")
	}
	_ = near.Close()
	if served := <-served; served == nil {
		seen = server.ConnectionState().ServerName
	}
	return seen, asked, err
}

// connected is a connection that has room for what nobody reads yet.
func connected(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = near.Close(), far.Close() }) // most are closed already
	return near, far
}

// believing is a client that wants a name and believes any certificate.
func believing(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
}

func TestClientThatNamesNobodyHereIsToldSo(t *testing.T) {
	for name, known := range map[string]bool{"a.pg.lab": true, "c.pg.lab": false, "192.0.2.7": false, "A.PG.LAB": false} {
		seen, asked, err := greet(t, believing(name), nil, nil)
		if known != (err == nil) || known && seen != name {
			t.Errorf("%s: %q, %v", name, seen, err)
		}
		if !known && (err == nil || !strings.Contains(err.Error(), "unrecognized name")) {
			t.Errorf("%s: %v, want the alert unrecognized_name (RFC 8446, section 6)", name, err)
		}
		if name == "192.0.2.7" {
			name = "" // clients send no address
		}
		if !slices.Equal(asked, []string{name}) {
			t.Errorf("%s: the authority was asked for %q", name, asked)
		}
	}
}

// records writes a handshake message in TLS records of so many bytes.
func records(b []byte, size int) (out []byte) {
	kind, body := b[:3], b[5:]
	for part := range slices.Chunk(body, size) {
		out = append(binary.BigEndian.AppendUint16(append(out, kind...), uint16(len(part))), part...)
	}
	return out
}

func TestServerNameIsReadOfAHelloInAnyPieces(t *testing.T) {
	for _, size := range []int{1, 2, 7, 100} {
		split := func(written int, b []byte) []byte {
			if written > 0 {
				return b
			}
			return records(b, size)
		}
		if seen, asked, err := greet(t, believing("b.pg.lab"), nil, split); err != nil || seen != "b.pg.lab" || len(asked) != 1 {
			t.Errorf("in records of %d bytes: %q, asked %q, %v", size, seen, asked, err)
		}
	}
}

// swap replaces one name by another of the same length.
func swap(b []byte, from, to string) []byte { return bytes.ReplaceAll(b, []byte(from), []byte(to)) }

// TestSecondHelloNamesNobodyElse lets a client name one server, be told to try
// again (HelloRetryRequest), and name another.
func TestSecondHelloNamesNobodyElse(t *testing.T) {
	again := func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} } // of which the client has sent no share
	if seen, asked, err := greet(t, believing("a.pg.lab"), again, nil); err != nil || seen != "a.pg.lab" || len(asked) != 1 {
		t.Fatalf("without a change: %q, asked %q, %v", seen, asked, err)
	}
	hellos := 0
	seen, asked, err := greet(t, believing("a.pg.lab"), again, func(_ int, b []byte) []byte {
		if bytes.Contains(b, []byte("a.pg.lab")) {
			hellos++
		}
		if hellos == 2 {
			return swap(b, "a.pg.lab", "b.pg.lab")
		}
		return b
	})
	if hellos != 2 || err == nil || seen != "" || slices.Contains(asked, "b.pg.lab") {
		t.Errorf("with another name: %q, asked %q, %v", seen, asked, err)
	}
}

func TestHelloThatIsNoHelloIsNotServed(t *testing.T) {
	name := []byte("a.pg.lab")
	for what, edit := range map[string]func([]byte) []byte{
		"a final dot": func(b []byte) []byte { return swap(b, "a.pg.lab", "a.pg.la.") },
		"no name in it": func(b []byte) []byte { // the entry's length says 0
			at := bytes.Index(b, name)
			b[at-2], b[at-1] = 0, 0
			return b
		},
		"a length that lies": func(b []byte) []byte {
			at := bytes.Index(b, name)
			b[at-1] = 0xff
			return b
		},
		"two names": func(b []byte) []byte { // of one type (RFC 6066, section 3)
			at := bytes.Index(b, name)
			copy(b[at-2:], []byte{0, 2, 'a', 'b', 0, 0, 3, 'c', 'd', 'e'})
			return b
		},
		"huge": func(b []byte) []byte { // a length beyond what any client needs
			b[6], b[7], b[8] = 0x7f, 0xff, 0xff
			return b
		},
	} {
		seen, asked, err := greet(t, believing("a.pg.lab"), nil, func(written int, b []byte) []byte {
			if written > 0 {
				return b
			}
			return edit(bytes.Clone(b))
		})
		if err == nil || seen != "" || len(asked) != 0 {
			t.Errorf("%s: %q, asked %q, %v", what, seen, asked, err)
		}
	}
}

// TestNameWithANULIsGivenAsItIs leaves to who compares names that they compare
// all of it.
func TestNameWithANULIsGivenAsItIs(t *testing.T) {
	_, asked, err := greet(t, believing("a.pg.lab"), nil, func(_ int, b []byte) []byte { return swap(b, "a.pg.lab", "a.pg\x00lab") })
	if err == nil || !slices.Equal(asked, []string{"a.pg\x00lab"}) {
		t.Errorf("asked %q, %v", asked, err)
	}
}

// TestOuterNameCountsUnderECH has a client that hides the name it means in an
// extension which nobody here can open.
func TestOuterNameCountsUnderECH(t *testing.T) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	client := believing("b.pg.lab")
	client.MinVersion = tls.VersionTLS13
	client.EncryptedClientHelloConfigList = echList(key.PublicKey().Bytes(), "a.pg.lab")
	_, asked, err := greet(t, client, nil, nil)
	var rejected *tls.ECHRejectionError
	if !errors.As(err, &rejected) && (err == nil || !strings.Contains(err.Error(), "certificate")) {
		t.Errorf("the client was not told: %v", err)
	}
	if !slices.Equal(asked, []string{"a.pg.lab"}) {
		t.Errorf("the authority was asked for %q", asked)
	}
}

// echList is an ECHConfigList (RFC 9849, section 4) of one key.
func echList(public []byte, outer string) []byte {
	contents := append([]byte{7, 0, 0x20}, 0, byte(len(public))) // config id, DHKEM(X25519, HKDF-SHA256)
	contents = append(contents, public...)
	contents = append(contents, 0, 4, 0, 1, 0, 1) // HKDF-SHA256 with AES-128-GCM
	contents = append(contents, 32, byte(len(outer)))
	contents = append(append(contents, outer...), 0, 0)
	config := binary.BigEndian.AppendUint16([]byte{0xfe, 0x0d}, uint16(len(contents)))
	config = append(config, contents...)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(config))), config...)
}
