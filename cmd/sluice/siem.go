package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"slices"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/siem"
	"github.com/sluicegate/sluice/pkg/translog"
	"github.com/sluicegate/sluice/pkg/workload"
)

// exported is what a conversion wrote.
type exported struct {
	Path   string `json:"path"`
	Events int    `json:"events"`
}

// convert writes the records of a bundle in another form. The bundle is at a
// path, or fetched for the time of the conversion.
func (e *env) convert(ctx context.Context, what exportFlags) (err error) {
	format := siem.Format(what.format)
	if !slices.Contains(siem.Formats(), format) {
		return fmt.Errorf("%q is no format: write bundle, jsonl, ocsf or cef", what.format)
	}
	reader := siem.Reader{}
	path := what.bundle
	if path == "" {
		c, err := e.client()
		if err != nil {
			return err
		}
		reader.Lookup = func(_, id string) (*session.Session, error) { return c.sessionOf(ctx, id) }
		dir, err := os.MkdirTemp("", "sluice-export-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		path = dir + "/bundle"
		if _, err := e.export(ctx, selection(what.session, what.since), path); err != nil {
			return err
		}
	}
	out, end, err := e.create(what.to)
	if err != nil {
		return err
	}
	events, err := writeEvents(out, os.DirFS(path), &reader, format)
	if err := errors.Join(err, end()); err != nil {
		return fmt.Errorf("write events: %w", err)
	}
	switch {
	case what.to == "-":
	case e.flags.json:
		return e.printJSON(exported{what.to, events})
	default:
		e.printf("%s in %s; they prove nothing, a bundle does\n", plural(uint64(events), "event"), what.to)
	}
	return nil
}

// create makes a new file, which end closes; "-" is the standard output.
func (e *env) create(path string) (out io.Writer, end func() error, err error) {
	if path == "-" {
		return e.out, func() error { return nil }, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return file, file.Close, nil
}

// writeEvents returns how many lines it wrote.
func writeEvents(to io.Writer, bundle fs.FS, reader *siem.Reader, format siem.Format) (lines int, err error) {
	out := bufio.NewWriter(to)
	var line []byte
	for stored, err := range translog.ReadBundle(bundle) {
		if err != nil {
			return lines, err
		}
		note, err := translog.PeekBatch(stored.Note)
		if err != nil {
			return lines, err
		}
		events, err := reader.Events(siem.Batch{
			Cluster: note.Cluster, Agent: note.Agent, Epoch: note.Epoch.String(), Index: stored.Index, Entries: stored.Entries,
		})
		if err != nil {
			return lines, err
		}
		for i := range events {
			if line, err = format.Append(line[:0], &events[i]); err != nil {
				return lines, err
			}
			if _, err := out.Write(line); err != nil {
				return lines, err
			}
			if len(line) > 0 {
				lines++
			}
		}
	}
	return lines, out.Flush()
}

// sessionOf asks the collector for a session that was opened before what is
// exported, nil when it knows none.
func (c *client) sessionOf(ctx context.Context, id string) (*session.Session, error) {
	var v view.Session
	if err := c.get(ctx, "/v1/sessions/"+url.PathEscape(id), nil, &v); err != nil {
		return nil, err
	}
	s := &session.Session{ID: v.ID, Resource: v.Resource, Protocol: v.Protocol, Started: v.Started}
	s.Destination, _ = netip.ParseAddrPort(v.Destination) // none stays none
	if v.Parent != "" {
		s.Parent = &session.Parent{Session: v.Parent, Operation: v.ParentOperation}
	}
	w := &workload.Workload{}
	facts, err := json.Marshal(map[string]any{
		"assurance": v.Assurance, "kernel": v.Kernel, "orch": v.Orch, "verified": v.Verified, "claimed": v.Claimed, "agent": v.Agent,
	})
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(facts, w); err != nil {
		return nil, fmt.Errorf("read session %s: %w", id, err)
	}
	s.Workload = *w
	return s, nil
}
