package main

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// exportFlags are those of export.
type exportFlags struct {
	session, since, bundle string // what is exported
	format, to             string
	recording              string // a session, for its terminal
}

func newExport(e *env) *cobra.Command {
	var what exportFlags
	cmd := &cobra.Command{
		Use: "export (--session ID | --since TIME | --bundle DIR | --asciicast ID) [--format FORMAT] -o PATH",
		Short: "Write evidence and its proofs to a directory that sluice verify checks offline, " +
			"or its records as events for other systems, or a session's terminal to a file",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := what.check(); err != nil {
				return err
			}
			switch {
			case what.recording != "":
				return e.cast(cmd, what.recording, what.to)
			case what.format != bundleFormat:
				return e.convert(cmd.Context(), what)
			}
			files, err := e.export(cmd.Context(), selection(what.session, what.since), what.to)
			if err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(map[string]any{"path": what.to, "files": files})
			}
			e.printf("%s of evidence in %s; check it with: sluice verify %s\n", plural(uint64(files), "file"), what.to, what.to)
			return nil
		},
	}
	cmd.Flags().StringVar(&what.session, "session", "", "one session: its batches, other sessions' records hidden")
	cmd.Flags().StringVar(&what.since, "since", "", "everything stored since a time (RFC 3339) or duration ago (1h)")
	cmd.Flags().StringVar(&what.bundle, "bundle", "", "a bundle that was exported before, for another format; it is not verified")
	cmd.Flags().StringVar(&what.format, "format", bundleFormat, "bundle; or jsonl, ocsf or cef: an event a line, no evidence")
	cmd.Flags().StringVar(&what.recording, "asciicast", "", "one session's terminal, as asciinema plays it (asciicast v3); no evidence")
	cmd.Flags().StringVarP(&what.to, "output", "o", "", "directory or file to make; - prints events")
	return cmd
}

// bundleFormat is the format that is evidence.
const bundleFormat = "bundle"

func (x *exportFlags) check() error {
	sources := 0
	for _, source := range []string{x.session, x.since, x.bundle, x.recording} {
		if source != "" {
			sources++
		}
	}
	if x.to == "" || sources != 1 {
		return errors.New("give -o, and one of --session, --since, --bundle and --asciicast")
	}
	if x.recording != "" && x.format != bundleFormat {
		return errors.New("a recording has no other format: leave --format out")
	}
	if x.bundle != "" && x.format == bundleFormat {
		return errors.New("that is a bundle already: give --format")
	}
	return nil
}

func selection(session, since string) url.Values {
	if session != "" {
		return url.Values{"session": {session}}
	}
	return url.Values{"since": {since}}
}

// export fetches a bundle into a new directory and returns the number of its
// files. What was written before an error stays for a look, but is no bundle.
func (e *env) export(ctx context.Context, what url.Values, to string) (files int, err error) {
	c, err := e.client()
	if err != nil {
		return 0, err
	}
	body, err := c.open(ctx, http.MethodGet, "/v1/export", what, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	if err := os.Mkdir(to, 0o700); err != nil {
		return 0, fmt.Errorf("make bundle: %w", err)
	}
	archive := tar.NewReader(body)
	for {
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return 0, fmt.Errorf("the export is incomplete: %w", err)
		}
		if err := unpack(to, head, archive); err != nil {
			return 0, fmt.Errorf("unpack export: %w", err)
		}
		files++
	}
}

// unpack writes one file of the archive below dir. The collector does not get
// to choose any other place.
func unpack(dir string, head *tar.Header, content io.Reader) (err error) {
	if head.Typeflag != tar.TypeReg || !fs.ValidPath(head.Name) || strings.Contains(head.Name, `\`) {
		return fmt.Errorf("%q is not a file of a bundle", head.Name)
	}
	path := filepath.Join(dir, filepath.FromSlash(head.Name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, content)
	return err
}
