package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
)

// printJSON prints v as indented JSON. What is not to be seen in it is escaped: a
// terminal obeys some characters that JSON lets stand.
func (e *env) printJSON(v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	out := bufio.NewWriter(e.out)
	for _, r := range string(text) {
		if r == '\n' || operation.Visible(r) {
			_, _ = out.WriteRune(r) // Flush reports errors
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			_, _ = fmt.Fprintf(out, "\\u%04x", unit) // as above
		}
	}
	_, _ = out.WriteString("\n")
	return out.Flush()
}

// printf prints what people read. A text among the arguments can neither drive
// the terminal nor begin a line, whoever wrote it. A terminal that has gone away is
// noticed by the next write of the table or by the kernel's signal.
func (e *env) printf(format string, args ...any) {
	shown := make([]any, len(args))
	for i, arg := range args {
		shown[i] = arg
		switch arg := arg.(type) {
		case verbatim:
			shown[i] = string(arg)
		case lines:
			shown[i] = "| " + strings.ReplaceAll(view.Printable(string(arg)), "\n", "\n    | ")
		default:
			if reflect.ValueOf(arg).Kind() == reflect.String {
				shown[i] = view.Flat(fmt.Sprint(arg))
			}
		}
	}
	_, _ = fmt.Fprintf(e.out, format, shown...)
}

// lines is text of several lines. Each is printed behind a bar, so that none can
// be taken for a line of ours.
type lines string

// verbatim is what is printed as it is: somebody has made it safe.
type verbatim string

// table prints rows under a heading, in columns.
func (e *env) table(head []string, rows [][]string) error {
	w := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, strings.Join(head, "\t")) // Flush reports errors
	for _, row := range rows {
		for i := range row {
			row[i] = view.OneLine(row[i], maxCell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	return w.Flush()
}

// maxCell is the widest that a cell of a list may be, in characters.
const maxCell = 100

// clock prints a time as lists do, to the second.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// instant prints a time to the millisecond.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000Z") }

// facts prints a group of facts on one line, keys sorted: a.b=c d=e.
func facts(group json.RawMessage) string {
	var tree any
	decoder := json.NewDecoder(bytes.NewReader(group))
	decoder.UseNumber() // ids have 64 bits
	if err := decoder.Decode(&tree); err != nil {
		return "?"
	}
	words := flatten(nil, "", tree)
	if len(words) == 0 {
		return "-"
	}
	return view.Flat(strings.Join(words, " "))
}

func flatten(words []string, path string, node any) []string {
	switch node := node.(type) {
	case map[string]any:
		keys := make([]string, 0, len(node))
		for key := range node {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			words = flatten(words, strings.TrimPrefix(path+"."+key, "."), node[key])
		}
	case []any:
		words = append(words, path+"="+list(node))
	case nil:
	case json.Number:
		if node != "0" {
			words = append(words, path+"="+node.String())
		}
	case string:
		if node != "" && node != noTime {
			words = append(words, path+"="+quote(node))
		}
	default:
		words = append(words, fmt.Sprintf("%s=%v", path, node))
	}
	return words
}

// list prints an array on one line: its texts, quoted where they must be.
func list(node []any) string {
	items := make([]string, len(node))
	for i, child := range node {
		text, ok := child.(string)
		if !ok {
			text = fmt.Sprint(child)
		}
		items[i] = quote(text)
	}
	return "[" + strings.Join(items, " ") + "]"
}

// noTime is how JSON writes a time that is not known.
const noTime = "0001-01-01T00:00:00Z"

// quote puts text with spaces in quotes.
func quote(text string) string {
	if strings.ContainsAny(text, " \t\n\"") {
		return fmt.Sprintf("%q", text)
	}
	return text
}

func plural(n uint64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
