package mysql

import "fmt"

// Options bound what one session may ask of the agent. The zero value of a
// field means its default.
type Options struct {
	// MaxMessage is the most bytes of a message that has to be seen whole: a
	// statement, its parameters, a row with masked columns. It may not be more
	// than one packet holds. Default 16 MiB less 2 bytes.
	MaxMessage int
	// MaxStatements is the most prepared statements that one session may keep.
	// Default 16384, as the server's own max_prepared_stmt_count for all.
	MaxStatements int
	// MaxStatementBytes is the most statement text that one session may keep
	// with its prepared statements. Default 64 MiB.
	MaxStatementBytes int
}

func (o Options) withDefaults() (Options, error) {
	for _, field := range []struct {
		name                  string
		value                 *int
		fallback, least, most int
	}{
		{"MaxMessage", &o.MaxMessage, maxPacket - 1, 64 << 10, maxPacket - 1},
		{"MaxStatements", &o.MaxStatements, 16384, 16, 1 << 20},
		{"MaxStatementBytes", &o.MaxStatementBytes, 64 << 20, 64 << 10, 1 << 30},
	} {
		if *field.value == 0 {
			*field.value = field.fallback
		}
		if *field.value < field.least || *field.value > field.most {
			return o, fmt.Errorf("mysql: %s is %d, not between %d and %d", field.name, *field.value, field.least, field.most)
		}
	}
	return o, nil
}
