package mysql_test

import (
	"bytes"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

// FuzzObserver lets peers say anything.
func FuzzObserver(f *testing.F) {
	login := bytes.Join([][]byte{{1}, bytesOf(f, `0 servers`), {0}, bytesOf(f, `1 answer "job" "shop"`), {1}, bytesOf(f, "2 ok")}, []byte("|"))
	f.Add(append(bytes.Clone(login), []byte("|\x00|\x09\x00\x00\x00\x03SELECT 1")...))
	f.Add([]byte("\x00|GET / HTTP/1.1\r\n\r\n|\x01|\x00"))
	f.Fuzz(func(t *testing.T, script []byte) {
		m, err := fuzzed()
		if err != nil {
			t.Fatal(err)
		}
		protocoltest.Pieces(t, mysql.NewObserver(m, &protocol.Conn{
			Session: &session.Session{ID: "test"}, TLS: protocol.ServerTLS{Mode: protocol.TLSOff}, Masks: &mask.Set{}, Observe: true, Log: zap.NewNop(),
		}), script)
	})
}
