package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/translog"
)

func newVerify(e *env) *cobra.Command {
	var kept []string
	cmd := &cobra.Command{
		Use:   "verify [PATH]",
		Short: "Check evidence with pinned keys; without PATH, all that the collector has",
		Long: `Check an exported bundle offline, with the pinned keys of the trust file and
nothing else. Without PATH, everything is exported from the collector first.

With --kept the log must also contain a checkpoint or receipt that you have from
elsewhere, such as the file checkpoint of an earlier export: so a log that was
rolled back, or shows you another face, is found out.

Exit status: 0 all holds, 1 there are findings, 2 it could not be checked.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			trust, err := e.trust()
			if err != nil {
				return err
			}
			known, err := readAll(kept)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return e.verify(args[0], trust, known)
			}
			return e.verifyLive(cmd.Context(), trust, known)
		},
	}
	cmd.Flags().StringArrayVar(&kept, "kept", nil, "a checkpoint or receipt that the log must contain; may be given again")
	return cmd
}

func readAll(names []string) (all [][]byte, err error) {
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// trust reads the pinned keys.
func (e *env) trust() (translog.Trust, error) {
	if e.settings.Trust == "" {
		return translog.Trust{}, errors.New("no trust file: write trust in the configuration, or give --trust")
	}
	data, err := os.ReadFile(string(e.settings.Trust))
	if err != nil {
		return translog.Trust{}, fmt.Errorf("read trust file: %w", err)
	}
	return translog.ParseTrust(data)
}

// verifyLive exports the whole log to a directory of its own and checks that.
func (e *env) verifyLive(ctx context.Context, trust translog.Trust, kept [][]byte) (err error) {
	dir, err := os.MkdirTemp("", "sluice-verify-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bundle := filepath.Join(dir, "bundle")
	if _, err := e.export(ctx, url.Values{"since": {"1970-01-01T00:00:00Z"}}, bundle); err != nil {
		return err
	}
	return e.verify(bundle, trust, kept)
}

// verify checks a bundle and prints what does not hold. Findings end the
// program with their own exit status.
func (e *env) verify(path string, trust translog.Trust, kept [][]byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not the directory of a bundle", path)
	}
	report, err := translog.Verify(os.DirFS(path), trust, kept...)
	if err != nil {
		return err
	}
	if e.flags.json {
		if err := e.printJSON(&report); err != nil {
			return err
		}
	} else {
		e.printReport(&report)
	}
	if !report.OK() {
		return exit{exitFindings}
	}
	return nil
}

func (e *env) printReport(r *translog.Report) {
	for _, f := range r.Findings {
		e.printf("%s\n", f.String())
	}
	e.printf("log %s, %d leaves; checked %s of %s in %s of %s\n", r.Origin, r.Size,
		plural(uint64(r.Records), "record"), plural(uint64(r.Sessions), "session"),
		batches(r.Batches), plural(uint64(r.Agents), "agent"))
	switch r.Scope.Kind {
	case translog.OneSession:
		e.printf("only session %s; %s hidden\n", r.Scope.Session, plural(uint64(r.Hidden), "record"))
	case translog.Range:
		e.printf("only what the log has from leaf %d on\n", r.Scope.First)
	case translog.WholeLog:
	}
	if w := r.Witnessed; w != nil {
		for _, by := range w.By {
			e.printf("witness %s saw %d leaves on %s\n", by.Witness, w.Size, instant(by.At))
		}
	}
	for _, s := range r.Shreddings {
		e.printf("leaf %d: bodies destroyed on %s by %s: %s\n", s.Index, s.At.Format(time.DateOnly), s.By, s.Reason)
	}
	if r.Shredded > 0 {
		e.printf("%s without the body that was destroyed so\n", plural(uint64(r.Shredded), "record"))
	}
	if r.OK() {
		e.printf("all holds\n")
		return
	}
	e.printf("%s: this evidence does NOT hold\n", plural(uint64(len(r.Findings)), "finding"))
}

func batches(n int) string {
	if n == 1 {
		return "1 batch"
	}
	return fmt.Sprintf("%d batches", n)
}
