package main

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/record"
)

func newReplay(e *env) *cobra.Command {
	var speed float64
	var idle time.Duration
	cmd := &cobra.Command{
		Use:   "replay SESSION",
		Short: "Show a session's operations and answers as the job saw them, masks included; play one that had a terminal",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := e.told(cmd, args[0])
			if err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(replayed(&t))
			}
			if onTerminal(&t) {
				if !cmd.Flags().Changed("speed") {
					speed = 1
				}
				return e.play(cmd.Context(), &t, speed, idle)
			}
			return e.replay(cmd.Context(), &t, speed, idle)
		},
	}
	cmd.Flags().Float64Var(&speed, "speed", 0, "1 is as it was, 2 twice as fast; 0 does not wait (default 1 for a terminal, else 0)")
	cmd.Flags().DurationVar(&idle, "idle", 3*time.Second, "the longest pause, at any speed")
	return cmd
}

// scene is one operation of a replay in JSON.
type scene struct {
	At       time.Time   `json:"at"`
	Text     string      `json:"text"`
	Decision string      `json:"decision"`
	Answer   []view.Line `json:"answer"`
	Missing  int64       `json:"missing_bytes"` // of the answer: only their digest was kept
}

func replayed(t *told) []scene {
	scenes := []scene{}
	for _, op := range t.Operations {
		answer, missing := response(op)
		scenes = append(scenes, scene{op.At, op.Text, decided(op), view.Transcript(t.Session.Protocol, answer), missing})
	}
	return scenes
}

// response joins what was recorded of an operation's answer, what a program
// wrote to stderr included; missing is how many bytes were not.
func response(op *view.Operation) (answer []byte, missing int64) {
	for _, chunk := range op.Chunks {
		if chunk.Stream != "response" && chunk.Stream != "stderr" {
			continue
		}
		answer = append(answer, chunk.Data...)
		missing += max(0, chunk.Size-int64(len(chunk.Data)))
	}
	return answer, missing
}

func (e *env) replay(ctx context.Context, t *told, speed float64, idle time.Duration) error {
	s := &t.Session
	e.printf("-- %s on %s, %s by %s\n", s.ID, s.Resource, clock(s.Started), who(s))
	last := s.Started
	for _, op := range t.Operations {
		if err := pause(ctx, op.At.Sub(last), speed, idle); err != nil {
			return err
		}
		last = op.At
		e.printf("\n-- +%.3f s  %s\n", op.At.Sub(s.Started).Seconds(), decided(op))
		e.printf("%s\n", verbatim(prompt(op)))
		if first := firstAnswer(op); first > 0 {
			if err := pause(ctx, first, speed, idle); err != nil {
				return err
			}
			last = last.Add(first)
		}
		answer, missing := response(op)
		e.printf("%s", verbatim(render(view.Transcript(s.Protocol, answer))))
		if missing > 0 {
			e.printf("-- %d more bytes of the answer are recorded by their digest only\n", missing)
		}
	}
	return nil
}

func firstAnswer(op *view.Operation) time.Duration {
	for _, chunk := range op.Chunks {
		if chunk.Stream == "response" {
			return chunk.At
		}
	}
	return 0
}

// pause waits as long as it took, at a speed, and no longer than idle.
func pause(ctx context.Context, took time.Duration, speed float64, idle time.Duration) error {
	if speed <= 0 || took <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(min(idle, time.Duration(float64(took)/speed)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prompt shows what was asked, as at a prompt.
func prompt(op *view.Operation) string {
	if op.Kind == "connect" {
		return "-- connect " + view.OneLine(op.Text, maxCell)
	}
	database := op.Database
	if database == "" {
		database = op.Kind
	}
	lead := view.Flat(database) + "=> "
	text := view.Printable(op.Text)
	if text == "" {
		text = "(" + view.Flat(op.Kind) + ")"
	}
	out := lead + strings.ReplaceAll(text, "\n", "\n"+strings.Repeat(" ", utf8.RuneCountInString(lead)))
	if len(op.Params) == 0 {
		return out
	}
	values := make([]string, len(op.Params))
	for i := range op.Params {
		values[i] = fmt.Sprintf("$%d = %s", i+1, param(&op.Params[i]))
	}
	return out + "\n-- " + strings.Join(values, ", ")
}

func param(p *record.Param) string {
	switch {
	case p.Null:
		return "NULL"
	case p.Sealed != "":
		return fmt.Sprintf("(sealed, %d bytes)", p.Length)
	case p.Text != nil:
		return "'" + view.Flat(*p.Text) + "'"
	}
	return fmt.Sprintf("(%d bytes)", len(p.Bytes))
}
