package bypass

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// tables are what make bypass prints.
type tables struct {
	techniques, waits []string // rows, with tabs between the cells
}

func (t *tables) add(row string) { t.techniques = append(t.techniques, row) }

func (w *world) printTables(to io.Writer) {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "technique\tcapabilities\toutcome\thook\tthe attacker saw")
	for _, row := range w.tables.techniques {
		fmt.Fprintln(out, row)
	}
	fmt.Fprintln(out)
	for _, row := range w.tables.waits {
		fmt.Fprintln(out, row)
	}
	_ = out.Flush() // to the terminal
}
