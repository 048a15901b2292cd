package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/config"
)

// openDesk returns the desk that asks approvers, or nil where no roster is
// configured.
func openDesk(cfg config.Agent, key ed25519.PrivateKey, via *bus.Agent, log *zap.Logger) (*approval.Desk, error) {
	if cfg.Approvals.RosterFile == "" {
		return nil, nil
	}
	roster, err := loadRoster(cfg)
	if err != nil {
		return nil, err
	}
	return approval.NewDesk(approval.Config{
		Key:    key,
		Send:   via.PublishApprovalRequest,
		Roster: func() *approval.Roster { return roster },
		Late: func(id string, _ []byte) {
			log.Warn("A vote came after its request was settled", zap.String("approval", id))
		},
		Log: log,
	}), nil
}

// loadRoster reads the roster and remembers its version, so that an older one,
// with an approver who has left, is refused from then on.
func loadRoster(cfg config.Agent) (*approval.Roster, error) {
	roster, seen, err := openRoster(cfg)
	if err != nil || roster.Version == seen {
		return roster, err
	}
	return roster, os.WriteFile(versionFile(cfg), []byte(strconv.FormatUint(roster.Version, 10)+"\n"), 0o600)
}

// openRoster reads the roster and the newest version that was seen.
func openRoster(cfg config.Agent) (roster *approval.Roster, seen uint64, err error) {
	root, err := approval.ParsePublicKey(cfg.Approvals.RootKey)
	if err != nil {
		return nil, 0, fmt.Errorf("approvals.root_key: %w", err)
	}
	signed, err := os.ReadFile(string(cfg.Approvals.RosterFile))
	if err != nil {
		return nil, 0, fmt.Errorf("approvals.roster_file: %w", err)
	}
	if seen, err = readVersion(versionFile(cfg)); err != nil {
		return nil, 0, fmt.Errorf("newest roster version seen: %w", err)
	}
	if roster, err = approval.OpenRoster(signed, root, seen); err != nil {
		return nil, 0, fmt.Errorf("approvals.roster_file: %w", err)
	}
	return roster, seen, nil
}

func versionFile(cfg config.Agent) string {
	return filepath.Join(string(cfg.StateDir), "roster-version")
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
