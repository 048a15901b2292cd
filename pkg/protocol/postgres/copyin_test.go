package postgres_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
)

// copies are the forms in which a client may send COPY data before the server
// has asked for any, each with the number of its pipelines.
func copies(table, text string) map[string]copyForm {
	begin := []pgproto3.FrontendMessage{&pgproto3.Parse{Query: "COPY " + table + " FROM STDIN"}, &pgproto3.Bind{}, &pgproto3.Execute{}}
	data := []pgproto3.FrontendMessage{&pgproto3.CopyData{Data: []byte(text)}, &pgproto3.CopyDone{}}
	sync := &pgproto3.Sync{}
	return map[string]copyForm{
		"one Sync behind": {slices.Concat(begin, data, []pgproto3.FrontendMessage{sync}), 1},
		"a Sync before":   {slices.Concat(begin, []pgproto3.FrontendMessage{sync}, data, []pgproto3.FrontendMessage{sync}), 1},
		"two Syncs behind": {slices.Concat(begin, data, []pgproto3.FrontendMessage{
			sync, &pgproto3.Parse{Query: "SELECT 1"}, &pgproto3.Bind{}, &pgproto3.Execute{}, sync,
		}), 2},
	}
}

type copyForm struct {
	messages  []pgproto3.FrontendMessage
	pipelines int
}

func TestCopyThatDoesNotWaitForItsResponse(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS early", "CREATE TABLE early (a int)", "ALTER TABLE early OWNER TO app")
	p := startProxy(t, s, proxyOptions{})
	for name, form := range copies("early", "1\n") {
		t.Run(name, func(t *testing.T) {
			conn := p.connect(t, pgx.QueryExecModeSimpleProtocol)
			form.send(t, conn.PgConn().Frontend())
			wantCount(t, conn, "early", 1)
			setUp(t, s, "TRUNCATE early")
		})
	}
}

func TestCopyThatDoesNotWaitIsCounted(t *testing.T) {
	for text, want := range map[string]int{"6\n7\n": 7, "6\n7\n8\n": 5} {
		for name, form := range copies("stock", text) {
			t.Run(fmt.Sprintf("%s, %d", name, want), func(t *testing.T) {
				s, p := stock(t)
				form.send(t, p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn().Frontend())
				wantStock(t, s, want)
			})
		}
	}
}

func (f copyForm) send(t *testing.T, front *pgproto3.Frontend) {
	t.Helper()
	for _, m := range f.messages {
		front.Send(m)
	}
	for range f.pipelines {
		untilReady(t, front)
	}
}

// A client may also send only once it is asked, behind a Sync that the server
// ignores.
func TestCopyBehindASyncIsCounted(t *testing.T) {
	for text, want := range map[string]int{"6\n7\n": 7, "6\n7\n8\n": 5} {
		s, p := stock(t)
		front := p.connect(t, pgx.QueryExecModeSimpleProtocol).PgConn().Frontend()
		form := copies("stock", text)["a Sync before"]
		for _, m := range form.messages[:4] {
			front.Send(m)
		}
		if err := front.Flush(); err != nil {
			t.Fatal(err)
		}
		for asked := false; !asked; {
			m, err := front.Receive()
			if err != nil {
				t.Fatal(err)
			}
			_, asked = m.(*pgproto3.CopyInResponse)
		}
		copyForm{form.messages[4:], 1}.send(t, front)
		wantStock(t, s, want)
	}
}
