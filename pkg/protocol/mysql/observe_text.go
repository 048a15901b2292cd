package mysql

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/mysqltext"
)

// readingOf is how a server reads texts by default, of a client that says which
// character set it speaks. An observed server is not asked.
func (o *observer) readingOf(charset byte) mysqltext.Options {
	return mysqltext.Options{MariaDB: o.standing.mariaDB, Version: o.standing.version, UTF8: plainCharset(charset)}
}

// plainCharset reports whether a collation is one of ASCII's or UTF-8's, by its
// number in INFORMATION_SCHEMA.COLLATIONS.
func plainCharset(id byte) bool {
	switch {
	case id == 11 || id == 65: // ascii
		return true
	case id == 33 || id == 83 || id >= 192 && id <= 215 || id == 223: // utf8mb3
		return true
	}
	return id == 45 || id == 46 || id >= 224 && id <= 247 || id == 255 // utf8mb4
}

// follow notes what a text that was run changes about how the next is read, as
// far as it says so itself.
func (o *observer) follow(analysis *mysqltext.Analysis) {
	if analysis == nil {
		return
	}
	for i := range analysis.Statements {
		for _, e := range analysis.Statements[i].Effects {
			switch {
			case e.Kind == mysqltext.Use:
				o.standing.database = e.Name
			case e.Kind == mysqltext.SetVariable:
				o.set(e)
			}
		}
	}
}

// set follows one variable. An sql_mode that is computed, as drivers do which
// make one stricter, is taken for one that is read as before.
func (o *observer) set(e mysqltext.Effect) {
	t := &o.standing
	switch e.Name {
	case "names", "character set", "character_set_client":
		t.reading.UTF8 = len(e.Values) > 0 && slices.Contains(plainCharsets, strings.ToLower(e.Values[0]))
	case "sql_mode":
		if len(e.Values) == 1 {
			t.modes(strings.ToUpper(e.Values[0]))
		}
	}
}
