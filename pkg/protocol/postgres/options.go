package postgres

import "fmt"

// Options bound what one session may ask of the agent. The zero value of a
// field means its default.
type Options struct {
	// MaxMessage is the most bytes of a message that has to be seen whole:
	// a statement, its parameters, a row with masked columns. Default 16 MiB.
	MaxMessage int
	// MaxStatements is the most prepared statements, and the most portals, that
	// one session may keep. Default 16384.
	MaxStatements int
	// MaxStatementBytes is the most statement text and parameters that one
	// session may keep. Default 64 MiB.
	MaxStatementBytes int
}

func (o Options) withDefaults() (Options, error) {
	for _, field := range []struct {
		name     string
		value    *int
		fallback int
		least    int
	}{
		{"MaxMessage", &o.MaxMessage, 16 << 20, 64 << 10},
		{"MaxStatements", &o.MaxStatements, 16384, 16},
		{"MaxStatementBytes", &o.MaxStatementBytes, 64 << 20, 64 << 10},
	} {
		if *field.value == 0 {
			*field.value = field.fallback
		}
		if *field.value < field.least {
			return o, fmt.Errorf("postgres: %s is %d, the least is %d", field.name, *field.value, field.least)
		}
	}
	return o, nil
}
