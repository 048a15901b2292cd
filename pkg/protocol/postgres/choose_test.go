package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// chooser gives the database shop to the resource shop-db, and nothing else to
// anybody, and keeps what it was asked.
type chooser struct {
	mu    sync.Mutex
	asked []protocol.Start // guarded by mu
}

func (c *chooser) choose(by protocol.Start) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, by)
	if by.Database == "shop" || by.Resource == "shop-db" {
		return "shop-db", nil
	}
	return "", errors.New("no resource")
}

func (c *chooser) last() protocol.Start {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[len(c.asked)-1]
}

// TestResourceIsChosenByWhatTheClientSays lets sessions of one address be of
// several resources: each has its own masks, rules and login, none of which is
// there before.
func TestResourceIsChosenByWhatTheClientSays(t *testing.T) {
	authority, root := loopback(t)
	s := realServer(t)
	if err := s.sql("shop", "CREATE TABLE chosen AS SELECT 'ada@example.com' AS email", "GRANT SELECT ON chosen TO app"); err != nil {
		t.Fatal(err)
	}
	var c chooser
	p := startProxy(t, s, proxyOptions{
		choose: c.choose, clientTLS: authority.Config(nil, netip.MustParseAddr("127.0.0.1")),
		masks: []mask.Column{{Schema: "public", Table: "chosen", Column: "email", Mask: "pii", Method: mask.Redact}},
	})
	for _, mode := range []string{"disable", "verify-full"} {
		out, err := psqlWithTLS(t, p, mode, root)
		if err != nil || !strings.Contains(out, "42\n") {
			t.Errorf("%s: %v, psql said %q", mode, err, out)
		}
		if by := c.last(); by != (protocol.Start{Database: "shop", User: "job"}) {
			t.Errorf("%s: it is chosen by %+v", mode, by)
		}
	}
	if out, errs, _ := p.psql(t, "-Atc", "SELECT email FROM chosen"); strings.Contains(out, "@") || strings.TrimSpace(out) == "" {
		t.Errorf("its mask does not hold: %q, %s", out, errs)
	}
}

// TestSessionThatNoResourceSelectsIsRefused speaks to no server for it.
func TestSessionThatNoResourceSelectsIsRefused(t *testing.T) {
	var c chooser
	p := startProxy(t, realServer(t), proxyOptions{
		choose: c.choose,
		dial: func(context.Context) (net.Conn, error) {
			t.Error("the server is dialled")
			return nil, errors.New("no")
		},
	})
	for _, database := range []string{"postgres", "template1", "SHOP", "shop ", "job", ""} {
		uri := "host=127.0.0.1 connect_timeout=10 user=job port=" + strconv.Itoa(p.port) + " dbname='" + database + "'"
		out, err := exec.CommandContext(t.Context(), "psql", "-X", "-Atc", "SELECT 1", uri).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "no resource at this address is for this database, user and TLS server name") {
			t.Errorf("%q: %v, psql said %q", database, err, out)
		}
	}
	if len(p.guard.seen) != 0 {
		t.Errorf("somebody was asked: %+v", p.guard.seen)
	}
	// A replica gets every database, whichever it names.
	uri := "host=127.0.0.1 connect_timeout=10 user=job port=" + strconv.Itoa(p.port) + " dbname=shop replication=true"
	out, err := exec.CommandContext(t.Context(), "psql", "-X", "-Atc", "IDENTIFY_SYSTEM", uri).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "replication is not passed on where a resource selects its sessions") {
		t.Errorf("replication: %v, psql said %q", err, out)
	}
}

// TestCancelIsOfTheChosenSession cancels, which names no database.
func TestCancelIsOfTheChosenSession(t *testing.T) {
	var c chooser
	p := startProxy(t, realServer(t), proxyOptions{choose: c.choose})
	conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
	canceled := make(chan error, 1)
	time.AfterFunc(200*time.Millisecond, func() { canceled <- conn.PgConn().CancelRequest(context.Background()) })
	if _, err := conn.Exec(t.Context(), "SELECT pg_sleep(30)"); err == nil || !strings.Contains(err.Error(), "57014") {
		t.Errorf("it was not cancelled: %v", err)
	}
	if err := <-canceled; err != nil {
		t.Error(err)
	}
	if by := c.last(); by != (protocol.Start{Resource: "shop-db"}) {
		t.Errorf("the cancel request is of %+v", by)
	}
}

// undecided is a connection whose resource only its client can tell.
func undecided(whole *protocol.Conn, choose func(protocol.Start) (string, error)) *protocol.Conn {
	unnamed := *whole.Session
	unnamed.Resource = ""
	return &protocol.Conn{
		Session: &unnamed, Client: whole.Client, ClientTLS: whole.ClientTLS, Masks: &mask.Set{}, Log: whole.Log,
		Choose: func(_ context.Context, by protocol.Start) (*protocol.Conn, error) {
			resource, err := choose(by)
			if err != nil {
				return nil, err
			}
			whole.Session.Resource = resource
			return whole, nil
		},
	}
}
