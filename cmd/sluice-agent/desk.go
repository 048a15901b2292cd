package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/agent"
	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
)

// openPeople returns the roster, or nil where none is configured.
func openPeople(cfg config.Agent, in inputs) (*approval.Roster, error) {
	if in.roster == nil {
		return nil, nil
	}
	return useRoster(cfg, in.roster)
}

// openDesk returns the desk that asks approvers.
func openDesk(in inputs, roster func() *approval.Roster, reviewed *agent.Preapprovals, via *bus.Agent, log *zap.Logger) *approval.Desk {
	return approval.NewDesk(approval.Config{
		Key:    in.keys.private,
		Send:   via.PublishApprovalRequest,
		Roster: roster,
		Late: func(id string, _ []byte) {
			log.Warn("A vote came after its request was settled", zap.String("approval", id))
		},
		BreakGlass: func() []byte {
			if via.Status() == nil {
				return nil
			}
			return readBreakGlass(log)
		},
		Preapprovals: reviewed.All,
		Log:          log,
	})
}

// reviewedDir, in the spool's directory, holds pre-approvals: those that the
// collector brought, and those that the owner of the node put there.
const reviewedDir = "pre-approved"

// breakGlassFile, in the spool's directory, is where the owner of the node puts
// a break-glass token.
const breakGlassFile = "break-glass"

// maxToken bounds a break-glass token, in bytes.
const maxToken = 64 << 10

// readBreakGlass returns the token, nil where there is none.
func readBreakGlass(log *zap.Logger) []byte {
	file, err := os.Open(breakGlassFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var token []byte
	if err == nil {
		defer file.Close() //nolint:errcheck // only read
		token, err = io.ReadAll(io.LimitReader(file, maxToken))
	}
	if err != nil {
		log.Error("The break-glass token cannot be read", zap.Error(err))
		return nil
	}
	return token
}

// versionFile, in the spool's directory, is the newest roster's version that
// was seen.
const versionFile = "roster-version"

// useRoster verifies the roster and remembers its version in the working
// directory, so that an older one, with an approver who has left, is refused
// from then on.
func useRoster(cfg config.Agent, signed []byte) (*approval.Roster, error) {
	roster, seen, err := openRoster(cfg, signed, ".")
	if err != nil || roster.Version == seen {
		return roster, err
	}
	return roster, os.WriteFile(versionFile, []byte(strconv.FormatUint(roster.Version, 10)+"\n"), 0o600)
}

// openRoster verifies the roster against the newest version that dir remembers.
func openRoster(cfg config.Agent, signed []byte, dir string) (roster *approval.Roster, seen uint64, err error) {
	root, err := approval.ParsePublicKey(cfg.Approvals.RootKey)
	if err != nil {
		return nil, 0, fmt.Errorf("approvals.root_key: %w", err)
	}
	if seen, err = readVersion(filepath.Join(dir, versionFile)); err != nil {
		return nil, 0, fmt.Errorf("newest roster version seen: %w", err)
	}
	if roster, err = approval.OpenRoster(signed, root, seen); err != nil {
		return nil, 0, fmt.Errorf("approvals.roster_file: %w", err)
	}
	return roster, seen, nil
}

func readVersion(file string) (uint64, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
}
