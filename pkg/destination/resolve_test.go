package destination

import (
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers every question with an alias and an address.
func nameServer(t *testing.T, aliasTTL, addressTTL uint32) (address string) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		question := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(question[:n]) != nil {
				continue
			}
			alias := dnsmessage.MustNewName("alias.example.com.")
			m.Response, m.Additionals = true, nil
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: m.Questions[0].Name, Class: dnsmessage.ClassINET, TTL: aliasTTL},
				Body:   &dnsmessage.CNAMEResource{CNAME: alias},
			}}
			if m.Questions[0].Type == dnsmessage.TypeA {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: alias, Class: dnsmessage.ClassINET, TTL: addressTTL},
					Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
				})
			}
			answer, err := m.Pack()
			if err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return conn.LocalAddr().String()
}

func TestLifetimesAreRead(t *testing.T) {
	for _, test := range []struct {
		alias, address uint32
		least, most    time.Duration
	}{
		{300, 2, 2 * time.Second, 300 * time.Second},
		{0, 60, time.Nanosecond, time.Minute},
		{1 << 31, 60, time.Minute, longestTTL},
	} {
		server := nameServer(t, test.alias, test.address)
		var times lifetimes
		resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return times.dial(ctx, network, server)
		}}
		addrs, err := resolver.LookupNetIP(t.Context(), "ip", "db.example.com")
		if err != nil || len(addrs) != 1 || addrs[0].Unmap().String() != "192.0.2.7" {
			t.Fatalf("got %v, %v", addrs, err)
		}
		if times.least != test.least || times.most != test.most {
			t.Errorf("%+v hold for %v to %v", test, times.least, times.most)
		}
	}
}

func TestWhatIsNoAnswerHasNoLifetime(t *testing.T) {
	for _, message := range []string{"", "short", string(make([]byte, 12)), string(append(make([]byte, 12), 0xff))} {
		var times lifetimes
		times.note([]byte(message))
		if times.least != 0 || times.most != 0 {
			t.Errorf("%q: %+v", message, &times)
		}
	}
}

func TestHostsFileHasNoLifetime(t *testing.T) {
	got, err := resolve(t.Context(), "localhost")
	if err != nil || len(got.addrs) == 0 || got.least != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}
