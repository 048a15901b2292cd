package mysql

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/mysqltext"
	"github.com/sluicegate/sluice/pkg/operation"
)

// standing is what of the session's state decides how a text is read, and as
// whom it runs. The server is asked for it: what a text sets is one thing, what
// holds behind a procedure or an assignment of a variable another.
type standing struct {
	mariaDB bool
	version int

	stale    bool // it may have changed
	unread   bool // the server did not tell
	reading  mysqltext.Options
	foreign  bool // texts are read in another dialect
	database string
	role     string
}

// standingQuery asks for all of it. It names no table, so that the server keeps
// the warnings of the statement before it, and begins no transaction.
const standingQuery = "SELECT @@SESSION.sql_mode, @@SESSION.character_set_client, @@lower_case_table_names, DATABASE(), CURRENT_USER()"

// foreignModes are the modes of sql_mode under which MariaDB has another
// grammar.
var foreignModes = []string{"ORACLE", "MSSQL"}

// learn takes in the server's answer.
func (t *standing) learn(rows [][]string) {
	t.stale, t.unread = false, true
	if len(rows) != 1 || len(rows[0]) != 5 {
		return
	}
	row := rows[0]
	t.reading = mysqltext.Options{MariaDB: t.mariaDB, Version: t.version, LowerNames: row[2] != "0", UTF8: slices.Contains(plainCharsets, row[1])}
	t.modes(row[0])
	t.database, t.role = row[3], row[4]
	t.unread = row[1] == "" || row[2] == "" || row[4] == ""
}

// modes takes in an sql_mode.
func (t *standing) modes(text string) {
	modes := strings.Split(text, ",")
	has := func(mode string) bool { return slices.Contains(modes, mode) }
	t.reading.ANSIQuotes = has("ANSI_QUOTES")
	t.reading.NoBackslashEscapes = has("NO_BACKSLASH_ESCAPES")
	t.reading.PipesAsConcat = has("PIPES_AS_CONCAT")
	t.reading.IgnoreSpace = has("IGNORE_SPACE")
	t.reading.HighNotPrecedence = has("HIGH_NOT_PRECEDENCE")
	t.foreign = slices.ContainsFunc(foreignModes, has)
}

// plainCharsets are the values of character_set_client in which no byte of a
// letter looks like ASCII, and that Options.UTF8 means.
var plainCharsets = []string{"utf8mb4", "utf8mb3", "utf8", "ascii"}

// readable reports whether a text can be understood at all.
func (t *standing) readable() bool { return !t.stale && !t.unread && !t.foreign }

// context is what an approval binds beside the text.
func (c *conversation) context() operation.Context {
	return operation.Context{
		Database:      c.standing.database,
		Role:          c.standing.role,
		InTransaction: c.status&statusInTransaction != 0,
		Unknown:       c.phase == ready && !c.standing.readable(),
	}
}

// readStanding asks the server.
func (c *conversation) readStanding() {
	c.question(standingQuery, func(rows [][]string, ok bool) {
		if !ok {
			rows = nil
		}
		c.standing.learn(rows)
		if c.phase == settling {
			c.openToClient()
		}
	})
}

// stand asks for the standing before a command is looked at, where it may have
// changed. It reports whether the command has to wait.
func (c *conversation) stand() bool {
	if !c.standing.stale {
		return false
	}
	c.readStanding()
	c.pause()
	return true
}

// harmless are session variables that change neither how a text is read nor
// where its names are looked for.
var harmless = []string{
	"autocommit", "foreign_key_checks", "innodb_lock_wait_timeout", "lock_wait_timeout", "max_execution_time", "max_statement_time", "net_read_timeout",
	"net_write_timeout", "sql_log_bin", "sql_notes", "sql_quote_show_create", "sql_safe_updates", "sql_select_limit", "time_zone", "timestamp",
	"transaction_isolation", "transaction_read_only", "tx_isolation", "tx_read_only", "unique_checks", "wait_timeout", "interactive_timeout",
}

// moves reports whether a text that runs may change the standing.
func moves(analysis *mysqltext.Analysis) bool {
	if analysis == nil {
		return true
	}
	return slices.ContainsFunc(analysis.Statements, func(s mysqltext.Statement) bool {
		return s.Opaque || slices.ContainsFunc(s.Effects, func(e mysqltext.Effect) bool {
			switch e.Kind {
			case mysqltext.Use, mysqltext.SetAnything:
				return true
			case mysqltext.SetVariable:
				return !slices.Contains(harmless, e.Name)
			}
			return false
		}) || s.Class == operation.SessionSet && len(s.Effects) == 0
	})
}
