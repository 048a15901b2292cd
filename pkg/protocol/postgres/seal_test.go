package postgres_test

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/mask"
)

// kept is everything that the guard was given to record.
func (g *guard) kept() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all strings.Builder
	for _, op := range g.seen {
		all.Write(op.Text.Reveal())
		all.WriteByte('\n')
		for _, p := range op.Params {
			if !p.Sealed {
				all.Write(p.Text.Reveal())
				all.WriteByte('\n')
			}
		}
	}
	all.Write(g.recorded.Bytes())
	return all.String()
}

// wantSealed fails if what was recorded holds a canary, or not what it should.
func wantSealed(t *testing.T, p *proxy, shape string) {
	t.Helper()
	kept := p.guard.kept()
	for _, canary := range []string{canaryEmail, hex.EncodeToString([]byte(canaryEmail))} {
		if strings.Contains(kept, canary) {
			t.Errorf("the record holds %s: %s", canary, kept)
		}
	}
	if !strings.Contains(kept, shape) {
		t.Errorf("the record does not hold %q: %s", shape, kept)
	}
}

func TestLiteralsNearMasksAreNotRecorded(t *testing.T) {
	s := realServer(t)
	for _, test := range []struct{ statement, shape string }{
		{"INSERT INTO customers (id, email) VALUES (700, '" + canaryEmail + "')", "INSERT INTO customers (id, email) VALUES ([sealed 3 bytes], [sealed 24 bytes])"},
		{"UPDATE customers SET email = E'" + canaryEmail + "' WHERE id = 1", "UPDATE customers SET email = [sealed 24 bytes] WHERE id = [sealed 1 bytes]"},
		{"SELECT id FROM customers WHERE email = $$" + canaryEmail + "$$", "SELECT id FROM customers WHERE email = [sealed 24 bytes]"},
		{"SELECT id FROM customers /* " + canaryEmail + " */", "SELECT id FROM customers [sealed 30 bytes]"},
		{"SELECT contact FROM contacts WHERE contact = '" + canaryEmail + "'", "WHERE contact = [sealed 24 bytes]"},
		{"SELEKT '" + canaryEmail + "' FROM customers", "[sealed 48 bytes]"},
		{"SELECT 1 FROM nowhere WHERE a = '" + canaryEmail + "'", "FROM nowhere WHERE a = [sealed 24 bytes]"},
		{"SELECT unknown_function('" + canaryEmail + "')", "unknown_function([sealed 24 bytes])"},
		{"COPY customers (email) FROM STDIN NULL '" + canaryEmail + "'", "COPY customers (email) FROM STDIN NULL [sealed 24 bytes]"},
	} {
		t.Run(test.statement, func(t *testing.T) {
			customers(t, s)
			p := startProxy(t, s, proxyOptions{masks: customerMasks})
			p.psql(t, "-c", test.statement)
			wantSealed(t, p, test.shape)
		})
	}
}

func TestParametersNearMasksAreSealed(t *testing.T) {
	s := realServer(t)
	for _, format := range []int16{0, 1} {
		customers(t, s)
		p := startProxy(t, s, proxyOptions{masks: customerMasks})
		conn := p.connect(t, pgx.QueryExecModeExec).PgConn()
		const statement = "UPDATE customers SET email = $1 WHERE name = 'name1'"
		result := conn.ExecParams(context.Background(), statement, [][]byte{[]byte(canaryEmail)}, []uint32{25}, []int16{format}, nil).Read()
		if result.Err != nil || result.CommandTag.RowsAffected() != 1 {
			t.Fatalf("%s, %v", result.CommandTag, result.Err)
		}
		wantSealed(t, p, "SET email = $1 WHERE name = [sealed 5 bytes]")
		if last := p.guard.seen[len(p.guard.seen)-1]; string(last.Source) != statement || len(last.Params) != 1 {
			t.Errorf("an approval would not bind %s", statement)
		}
	}
}

func TestPasswordsAreNotRecorded(t *testing.T) {
	s := realServer(t)
	p := startProxy(t, s, proxyOptions{user: "postgres", password: "admin"})
	p.psql(t, "-c", "CREATE ROLE sealed PASSWORD '"+canaryEmail+"'", "-c", "ALTER ROLE sealed PASSWORD '"+canaryEmail+"'",
		"-c", "SELECT set_config('app.password', '"+canaryEmail+"', false)", "-c", "DROP ROLE sealed",
		"-c", "ALTER ROLE sealed PASSWORD '"+canaryEmail+"' AND MORE", "-c", "SELECT 'ordinary words'")
	wantSealed(t, p, "ALTER ROLE sealed PASSWORD [sealed 24 bytes]")
	if !strings.Contains(p.guard.kept(), "'ordinary words'") {
		t.Error("a statement without a secret was sealed")
	}
}

func TestStatementsAwayFromMasksAreRecordedWhole(t *testing.T) {
	s := realServer(t)
	customers(t, s)
	p := startProxy(t, s, proxyOptions{masks: customerMasks})
	p.psql(t, "-c", "SELECT item FROM orders WHERE item = 'item3' -- why")
	if !strings.Contains(p.guard.kept(), "WHERE item = 'item3' -- why") {
		t.Errorf("the record is %s", p.guard.kept())
	}
}

// What a detector finds is sealed and nothing else, so that a job cannot hide
// what it did behind something that looks like a secret.
func TestDetectedSecretsAreNotRecorded(t *testing.T) {
	const card = "4111111111111111"
	s := realServer(t)
	if err := s.sql("shop", "CREATE TABLE IF NOT EXISTS noted (a text)", "GRANT ALL ON noted TO app"); err != nil {
		t.Fatal(err)
	}
	cards := proxyOptions{detect: []mask.Detection{{Mask: "cards", Detector: mask.CreditCard, Method: mask.Redact}}}
	for _, test := range []struct{ statement, shape string }{
		{"INSERT INTO noted VALUES ('plain'), ('" + card + "')", "VALUES ('plain'), ([sealed 16 bytes])"},
		{"SELECT 5, " + card, "SELECT 5, [sealed 16 bytes]"},
		{"SELECT 'kept' /* " + card + " */", "SELECT 'kept' [sealed 22 bytes]"},
		{"SELECT 1 FROM noted \"" + card + "\"", "[sealed 38 bytes]"},
		{"SELEKT '" + card + "'", "[sealed 25 bytes]"},
		{"DO 'BEGIN PERFORM ''" + card + "''; END'", "DO [sealed 41 bytes]"},
		{"SELECT 'nothing here'", "SELECT 'nothing here'"},
	} {
		p := startProxy(t, s, cards)
		p.psql(t, "-c", test.statement)
		if kept := p.guard.kept(); strings.Contains(kept, card) || !strings.Contains(kept, test.shape) {
			t.Errorf("%s: the record is %s", test.statement, kept)
		}
	}
	p := startProxy(t, s, cards)
	conn := p.connect(t, pgx.QueryExecModeExec)
	if _, err := conn.Exec(context.Background(), "INSERT INTO noted VALUES ($1), ($2)", card, "plain"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().CopyFrom(context.Background(), strings.NewReader(card+"\n"), "COPY noted FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	if kept := p.guard.kept(); strings.Contains(kept, card) || !strings.Contains(kept, "plain") {
		t.Errorf("the record is %s", kept)
	}
}
