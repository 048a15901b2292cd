package mysql_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/mysql"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
	"github.com/sluicegate/sluice/pkg/session"
)

var scripted = protocoltest.Plugin{
	New: func() (protocol.Protocol, error) {
		m, err := mysql.New(mysql.Options{})
		if err != nil {
			return nil, err
		}
		return mysql.Known(m, &protocol.Conn{Session: &session.Session{Resource: "resource", Destination: netip.MustParseAddrPort("192.0.2.1:1")}}), nil
	},
	Message: message,
	Greets:  "client< 0 greeting",
	Conn: func(c *protocol.Conn) {
		c.Credential = protocol.Credential{User: "app", Password: "secret"}
		c.Masks = &scriptedMasks
	},
}

var scriptedMasks = mask.Set{Columns: []mask.Column{{Schema: "shop", Table: "customers", Column: "email", Mask: "pii", Method: mask.Redact}}}

// loggedIn is a session up to its first command.
const loggedIn = `
client< 0 greeting
client> 1 answer "job" "shop"
ask? connect "user=job database=shop"
decide: allow
server> 0 servers
server< 1 login
server> 2 ok
server< 0 standing
server> standing-is ""
done? ok
client< 2 ok
`

func TestConversations(t *testing.T) {
	p := scripted
	p.Prelude = loggedIn
	protocoltest.RunScripts(t, "testdata/conversations", p)
}

func TestStartups(t *testing.T) { protocoltest.RunScripts(t, "testdata/startups", scripted) }

func TestConformance(t *testing.T) { protocoltest.Conform(t, scripted) }

// message reads packets in words, separated by +: a sequence number, then
// fields: "text", z"text" with a NUL, l"text" with its length, i8: i16: i24:
// i32: numbers and any:N bytes; or one word that stands for several.
func message(line string) (protocoltest.Message, error) {
	var all protocoltest.Message
	for _, one := range strings.Split(line, " + ") {
		m, err := packets(one)
		if err != nil {
			return all, err
		}
		all.Bytes, all.Any = append(all.Bytes, m.Bytes...), append(all.Any, m.Any...)
	}
	return all, nil
}

const column = ` l"def" l"shop" l"%s" l"%s" l"%s" l"%s" i8:12 i16:45 i32:400 i8:253 i16:0 i8:0 i16:0`

// packets reads the words that stand for packets.
func packets(line string) (protocoltest.Message, error) {
	head, rest, _ := strings.Cut(line, " ")
	words := strings.Fields(rest)
	switch {
	case head == "standing-is": // with an sql_mode
		row := `6 l` + rest + ` l"utf8mb4" l"0" l"shop" l"app@%"`
		return message(`1 i8:5 + ` + strings.Repeat(`2`+fmt.Sprintf(column, "", "", "x", "")+` + `, 5) + `5 eof + ` + row + ` + 7 eof`)
	case head == "relation-is": // no view, with the columns of a masked table
		at := `l"shop\x00customers"`
		return message(`1 i8:3 + ` + strings.Repeat(`2`+fmt.Sprintf(column, "", "", "x", "")+` + `, 3) + `5 eof + 6 ` + at + ` l"0" l"BASE TABLE" + 7 ` + at + ` l"2" l"id" + 8 ` + at + ` l"2" l"email" + 9 eof`)
	case len(words) == 1 && words[0] == "standing":
		return one(head + ` i8:3 "` + mysql.StandingQuery + `"`)
	case len(words) == 1 && words[0] == "look-up":
		conn := &protocol.Conn{Session: &session.Session{}, Masks: &scriptedMasks}
		return one(head + ` i8:3 ` + strconv.Quote(mysql.LookUp(conn, "shop", "customers")))
	case len(words) == 1 && words[0] == "ok":
		return one(head + ` i8:0 i8:0 i8:0 i16:2 i16:0`)
	case len(words) == 1 && words[0] == "eof":
		return one(head + ` i8:254 i16:0 i16:2`)
	case len(words) == 1 && words[0] == "greeting":
		return one(head + ` i8:10 z"10.11.19-MariaDB" any:4 any:8 i8:0 any:2 i8:45 i16:2 any:2 i8:21 any:10 any:12 i8:0 z"mysql_native_password"`)
	case len(words) == 1 && words[0] == "servers":
		return one(head + ` i8:10 z"10.11.19-MariaDB" i32:7 "abcdefgh" i8:0 i16:46926 i8:45 i16:2 i16:63 i8:21 "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" z"ijklmnopqrst" z"mysql_native_password"`)
	case len(words) == 1 && words[0] == "login":
		return one(head + ` any:4 any:4 any:1 any:23 z"app" i8:20 any:20 z"shop" z"mysql_native_password" i8:25 l"program_name" l"sluice/test"`)
	case len(words) == 3 && words[0] == "answer":
		return one(head + ` i32:623112 i32:16777216 i8:45 "` + strings.Repeat(`\x00`, 23) + `" z` + words[1] + ` i8:3 "pwd" z` + words[2] + ` z"mysql_native_password"`)
	case len(words) == 5 && words[0] == "column":
		return one(head + fmt.Sprintf(column, words[1], words[2], words[3], words[4]))
	case head == "raw":
		return fields(rest)
	}
	return one(line)
}

// one reads one packet.
func one(line string) (protocoltest.Message, error) {
	head, rest, _ := strings.Cut(line, " ")
	sequence, err := strconv.ParseUint(head, 10, 8)
	if err != nil {
		return protocoltest.Message{}, err
	}
	m, err := fields(rest)
	if err != nil {
		return m, err
	}
	n := len(m.Bytes)
	m.Bytes = append([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(sequence)}, m.Bytes...)
	m.Any = append(make([]bool, 4), m.Any...)
	return m, nil
}

func fields(text string) (m protocoltest.Message, err error) {
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if at := strings.IndexByte(text, '"'); at == 0 || at == 1 && (text[0] == 'z' || text[0] == 'l') {
			quoted, err := strconv.QuotedPrefix(text[at:])
			if err != nil {
				return m, fmt.Errorf("%s: %w", text, err)
			}
			value, err := strconv.Unquote(quoted)
			if err != nil {
				return m, err
			}
			switch text[0] {
			case 'z':
				value += "\x00"
			case 'l':
				value = string([]byte{byte(len(value))}) + value // less than 251 bytes
			}
			m.Bytes, m.Any = append(m.Bytes, value...), append(m.Any, make([]bool, len(value))...)
			text = text[at+len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(text, " ")
		kind, digits, _ := strings.Cut(word, ":")
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil {
			return m, err
		}
		size := map[string]int{"i8": 1, "i16": 2, "i24": 3, "i32": 4, "any": int(n)}[kind]
		if kind == "any" {
			m.Bytes = append(m.Bytes, make([]byte, size)...)
			for range size {
				m.Any = append(m.Any, true)
			}
		} else {
			m.Bytes = append(m.Bytes, binary.LittleEndian.AppendUint64(nil, uint64(n))[:size]...)
			m.Any = append(m.Any, make([]bool, size)...)
		}
		text = rest
	}
	return m, nil
}
