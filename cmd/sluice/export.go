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

func newExport(e *env) *cobra.Command {
	var session, since, to, recording string
	cmd := &cobra.Command{
		Use:   "export (--session ID | --since TIME | --asciicast ID) -o PATH",
		Short: "Write evidence and its proofs to a directory that sluice verify checks offline, or a session's terminal to a file",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if to != "" && recording != "" && session+since == "" {
				return e.cast(cmd, recording, to)
			}
			if to == "" || recording != "" || (session == "") == (since == "") {
				return errors.New("give -o, and one of --session, --since and --asciicast")
			}
			files, err := e.export(cmd.Context(), selection(session, since), to)
			if err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(map[string]any{"path": to, "files": files})
			}
			e.printf("%s of evidence in %s; check it with: sluice verify %s\n", plural(uint64(files), "file"), to, to)
			return nil
		},
	}
	cmd.Flags().StringVar(&session, "session", "", "one session: its batches, other sessions' records hidden")
	cmd.Flags().StringVar(&since, "since", "", "everything stored since a time (RFC 3339) or duration ago (1h)")
	cmd.Flags().StringVar(&recording, "asciicast", "", "one session's terminal, as asciinema plays it (asciicast v3); no evidence")
	cmd.Flags().StringVarP(&to, "output", "o", "", "directory or file to make")
	return cmd
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
