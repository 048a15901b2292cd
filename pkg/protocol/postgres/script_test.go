package postgres_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/postgres"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

// plugin is shared by all scripts, because a parser takes seconds to load.
var plugin = sync.OnceValues(func() (protocol.Protocol, error) { return postgres.New(postgres.Options{}) })

var scripted = protocoltest.Plugin{
	New:     plugin,
	Message: message,
	Conn: func(c *protocol.Conn) {
		c.Credential = protocol.Credential{User: "app", Password: "secret"}
		c.Session.Resource = session.NewID() // nobody has learned anything of it
	},
}

// loggedIn is a session up to its first ReadyForQuery.
const loggedIn = `
client> start i32:196608 "user" "job" "database" "shop" i8:0
ask? connect "user=job database=shop"
decide: allow
server< start i32:196608 "user" "app" "database" "shop" "application_name" "sluice/test" i8:0
server> R i32:0
client< R i32:0
server> S "client_encoding" "UTF8"
client< S "client_encoding" "UTF8"
server> S "standard_conforming_strings" "on"
client< S "standard_conforming_strings" "on"
server> K i32:77 i32:88
client< K any:8
server> Z i8:73
done? ok
server< question
server> answer
client< Z i8:73
`

func TestConversations(t *testing.T) {
	p := scripted
	p.Prelude = loggedIn
	protocoltest.RunScripts(t, "testdata/conversations", p)
}

func TestStartups(t *testing.T) {
	protocoltest.RunScripts(t, "testdata/startups", scripted)
}

func TestConformance(t *testing.T) {
	protocoltest.Conform(t, scripted)
}

// message reads messages in words, separated by +: a letter, or start for the
// packet that has none, and fields: "text" with its NUL, i8:, i16: and i32:
// numbers, raw:"bytes", any:N bytes. raw and nothing else is bytes without a
// header.
func message(line string) (protocoltest.Message, error) {
	var all protocoltest.Message
	for _, one := range strings.Split(line, " + ") {
		m, err := oneMessage(one)
		if err != nil {
			return all, err
		}
		all.Bytes = append(all.Bytes, m.Bytes...)
		all.Any = append(all.Any, m.Any...)
	}
	return all, nil
}

// shut closes the agent's own portal and statement.
const shut = `C raw:"P" "_sluice" + C raw:"S" "_sluice" + `

// ownQuery is a question of the agent's.
func ownQuery(query string) string {
	return `P "_sluice" ` + strconv.Quote(query) + ` i16:0 + B "_sluice" "_sluice" i16:0 i16:0 i16:0 + E "_sluice" i32:0 + ` + shut
}

// standingAnswer says that statements run as app, with the usual search_path.
const standingAnswer = `3 + 3 + 1 + 2 + D i16:1 i32:4 raw:"none" + C "SHOW" + 3 + 3 + 1 + 2 + D i16:1 i32:3 raw:"app" + C "SHOW" + 3 + 3` +
	` + 1 + 2 + D i16:1 i32:15 raw:"\"$user\", public" + C "SHOW" + 3 + 3 + Z i8:73`

func oneMessage(line string) (protocoltest.Message, error) {
	switch line {
	case "question":
		return message(shut + ownQuery("SHOW role") + ownQuery("SHOW session_authorization") + ownQuery("SHOW search_path") + `S + ` +
			shut + ownQuery(postgres.TakenQuery) + `S`)
	case "answer":
		return message(standingAnswer + ` + 3 + 3 + 1 + 2 + C "SELECT 1" + 3 + 3 + Z i8:73`)
	}
	head, fields, _ := strings.Cut(line, " ")
	switch head {
	case "count":
		return message(shut + ownQuery(postgres.TallyQuery) + fields) // S or H
	case "counted": // so many rows
		return message(`3 + 3 + 1 + 2 + D i16:2 i32:1 raw:"0" i32:1 raw:"0" + D i16:2 i32:5 raw:"16999" i32:1 raw:"` + fields + `" + C "SELECT 2" + 3 + 3`)
	}
	var m protocoltest.Message
	at := 0
	switch {
	case strings.HasPrefix(head, "raw:"):
		text, err := strconv.Unquote(head[4:])
		return protocoltest.Message{Bytes: []byte(text), Any: make([]bool, len(text))}, err
	case head == "start":
		m.Bytes = make([]byte, 4)
	case len(head) == 1:
		m.Bytes = append([]byte(head), 0, 0, 0, 0)
		at = 1
	default:
		return m, fmt.Errorf("no message is called %s", head)
	}
	m.Any = make([]bool, len(m.Bytes))
	for fields = strings.TrimSpace(fields); fields != ""; fields = strings.TrimSpace(fields) {
		rest, err := appendField(&m, fields)
		if err != nil {
			return m, err
		}
		fields = rest
	}
	binary.BigEndian.PutUint32(m.Bytes[at:], uint32(len(m.Bytes)-at))
	return m, nil
}

func appendField(m *protocoltest.Message, fields string) (rest string, err error) {
	if text, isRaw := strings.CutPrefix(fields, "raw:"); isRaw || fields[0] == '"' {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", fmt.Errorf("%s: %w", text, err)
		}
		value, err := strconv.Unquote(quoted)
		if !isRaw {
			value += "\x00"
		}
		m.Bytes = append(m.Bytes, value...)
		m.Any = append(m.Any, make([]bool, len(value))...)
		return text[len(quoted):], err
	}
	word, rest, _ := strings.Cut(fields, " ")
	kind, digits, _ := strings.Cut(word, ":")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return "", err
	}
	var value []byte
	switch kind {
	case "i8":
		value = []byte{byte(n)}
	case "i16":
		value = binary.BigEndian.AppendUint16(nil, uint16(n))
	case "i32":
		value = binary.BigEndian.AppendUint32(nil, uint32(n))
	case "any":
		m.Bytes = append(m.Bytes, make([]byte, n)...)
		for range n {
			m.Any = append(m.Any, true)
		}
		return rest, nil
	default:
		return "", fmt.Errorf("no field is called %s", word)
	}
	m.Bytes = append(m.Bytes, value...)
	m.Any = append(m.Any, make([]bool, len(value))...)
	return rest, nil
}
