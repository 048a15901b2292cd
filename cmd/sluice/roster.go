package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluicegate/sluice/pkg/approval"
)

func newRoster(e *env) *cobra.Command {
	cmd := &cobra.Command{Use: "roster", Short: "Make the signed list of approvers, offline"}
	cmd.AddCommand(newRosterNew(e), newRosterSign(e), newRosterShow(e))
	return cmd
}

// rosterLife is how long a new roster is valid unless the file is edited.
const rosterLife = 90 * 24 * time.Hour

func newRosterNew(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "new",
		Short: "Print an example to fill in",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return e.printJSON(approval.Roster{
				Version: 1, NotAfter: time.Now().Add(rosterLife).UTC().Truncate(time.Second),
				Approvers: []approval.Approver{{
					Name: "ada", Email: "ada@example.com", Groups: []string{"dba"},
					Accounts: []approval.Account{{Issuer: "https://login.example.com", Subject: "ada"}},
					Keys:     []string{"ssh-ed25519 AAAA… ada@laptop"},
				}},
			})
		},
	}
}

func newRosterSign(e *env) *cobra.Command {
	var rootKey, to string
	cmd := &cobra.Command{
		Use:   "sign FILE --root-key FILE -o FILE",
		Short: "Sign a roster with the offline root key",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if rootKey == "" || to == "" {
				return errors.New("give --root-key and -o")
			}
			roster, err := readRoster(args[0])
			if err != nil {
				return err
			}
			file, err := os.ReadFile(rootKey)
			if err != nil {
				return fmt.Errorf("read root key: %w", err)
			}
			key, err := approval.LoadKey(file, nil)
			if err != nil {
				return err
			}
			signed, err := approval.SignRoster(roster, key)
			if err != nil {
				return e.problems(err)
			}
			if err := os.WriteFile(to, signed, 0o644); err != nil {
				return fmt.Errorf("write roster: %w", err)
			}
			if e.flags.json {
				return e.printJSON(roster)
			}
			e.printf("%s: version %d, %s\n", to, roster.Version, plural(uint64(len(roster.Approvers)), "approver"))
			return nil
		},
	}
	cmd.Flags().StringVar(&rootKey, "root-key", "", "file with the root's private key")
	cmd.Flags().StringVarP(&to, "output", "o", "", "file to write")
	return cmd
}

func newRosterShow(e *env) *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "show FILE --root KEY",
		Short: "Verify a signed roster and print it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			key, err := approval.ParsePublicKey(root)
			if err != nil {
				return fmt.Errorf("--root: %w", err)
			}
			signed, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			roster, err := approval.OpenRoster(signed, key, 0)
			if err != nil {
				return err
			}
			if e.flags.json {
				return e.printJSON(roster)
			}
			e.printf("version %d, valid until %s\n\n", roster.Version, clock(roster.NotAfter))
			rows := make([][]string, len(roster.Approvers))
			for i, a := range roster.Approvers {
				rows[i] = []string{a.Name, a.Email, strings.Join(a.Groups, ", "), fmt.Sprint(len(a.Keys))}
			}
			return e.table([]string{"NAME", "EMAIL", "GROUPS", "KEYS"}, rows)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", `the root's public key, "ssh-ed25519 AAAA…"`)
	return cmd
}

func readRoster(path string) (approval.Roster, error) {
	var roster approval.Roster
	data, err := os.ReadFile(path)
	if err != nil {
		return roster, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&roster); err != nil {
		return roster, fmt.Errorf("read roster %s: %w", path, err)
	}
	return roster, nil
}
