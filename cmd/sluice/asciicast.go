package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
)

// cast writes a session as a recording of asciinema's (asciicast v3).
func (e *env) cast(cmd *cobra.Command, session, to string) error {
	t, err := e.told(cmd, session)
	if err != nil {
		return err
	}
	seen := moments(&t)
	if len(seen) == 0 {
		return fmt.Errorf("session %s ran no program on a host: there is nothing to play", session)
	}
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	err = errors.Join(writeCast(out, t.Session.ID, t.Session.Started, seen), out.Flush(), file.Close())
	if err != nil {
		return fmt.Errorf("write recording: %w", err)
	}
	if e.flags.json {
		return e.printJSON(map[string]any{"path": to, "moments": len(seen)})
	}
	e.printf("a recording in %s; play it with: asciinema play %s\n", to, to)
	return nil
}

// castHead is the first line of an asciicast.
type castHead struct {
	Version int `json:"version"`
	Term    struct {
		Cols int `json:"cols"`
		Rows int `json:"rows"`
	} `json:"term"`
	Timestamp int64  `json:"timestamp"`
	Title     string `json:"title"`
}

// writeCast writes one line for each moment. Times are since the moment before.
func writeCast(out *bufio.Writer, id string, began time.Time, seen []moment) error {
	head := castHead{Version: 3, Timestamp: began.Unix(), Title: "sluice session " + id}
	head.Term.Cols, head.Term.Rows = 80, 24
	for _, m := range seen {
		if m.kind != resized {
			continue
		}
		var cols, rows int
		if _, err := fmt.Sscanf(m.text, "%dx%d", &cols, &rows); err == nil && cols > 0 && rows > 0 {
			head.Term.Cols, head.Term.Rows = cols, rows
			break
		}
	}
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(head); err != nil {
		return err
	}
	last := seen[0].at
	var screen tamer
	for _, m := range seen {
		if m.kind == shown {
			m.text = screen.tame(m.text)
		}
		if err := lines.Encode([]any{float64((m.at - last).Milliseconds()) / 1000, string(m.kind), m.text}); err != nil {
			return err
		}
		last = m.at
	}
	return nil
}
