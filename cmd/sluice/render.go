package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxColumn is the widest that a column of a rendered table may be.
const maxColumn = 60

// render prints lines as psql would: tables aligned, the rest as it is.
func render(lines []view.Line) string {
	var out strings.Builder
	var rows [][]view.Cell
	var head []view.Cell
	flush := func() {
		writeTable(&out, head, rows)
		head, rows = nil, nil
	}
	for _, line := range lines {
		switch line.Kind {
		case view.Head:
			flush()
			head = line.Cells
			continue
		case view.Row:
			rows = append(rows, line.Cells)
			continue
		case view.Tag, view.Error, view.Notice, view.Stream, view.Gap:
		}
		flush()
		switch line.Kind {
		case view.Gap:
			fmt.Fprintf(&out, "-- %d bytes that cannot be shown\n", len(line.Text))
		case view.Stream:
			out.WriteString(line.Text)
		case view.Head, view.Row, view.Tag, view.Error, view.Notice:
			out.WriteString(line.Text + "\n")
		}
	}
	flush()
	return indented(out.String())
}

// indented keeps what a server says from looking like a line of ours.
func indented(text string) string {
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}

func writeTable(out *strings.Builder, head []view.Cell, rows [][]view.Cell) {
	if head == nil && rows == nil {
		return
	}
	widths := columnWidths(head, rows)
	if head != nil {
		writeRow(out, head, widths)
		for i, width := range widths {
			if i > 0 {
				out.WriteByte('+')
			}
			out.WriteString(strings.Repeat("-", width+2))
		}
		out.WriteByte('\n')
	}
	for _, row := range rows {
		writeRow(out, row, widths)
	}
}

func columnWidths(head []view.Cell, rows [][]view.Cell) []int {
	var widths []int
	for _, row := range append([][]view.Cell{head}, rows...) {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cellText(cell)))
		}
	}
	return widths
}

func writeRow(out *strings.Builder, row []view.Cell, widths []int) {
	var line strings.Builder
	for i, cell := range row {
		if i > 0 {
			line.WriteByte('|')
		}
		text := cellText(cell)
		line.WriteString(" " + text + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(text)+1))
	}
	out.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

func cellText(cell view.Cell) string {
	if cell.Null {
		return ""
	}
	return view.OneLine(cell.Text, maxColumn)
}
