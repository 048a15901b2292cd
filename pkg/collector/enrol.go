package collector

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector/witness"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Initialised is what Init made and what an operator must keep.
type Initialised struct {
	LogKey         string // verifier key
	TrustFile      string // to be pinned wherever sluice verify runs
	ConsoleKey     string // public; a roster that names it lets approvers vote in the console
	BootstrapToken string // shown once; only its hash is kept
}

// Init prepares a data directory: the log's key, the bootstrap token, the
// trust file. It refuses a directory in which it has run before.
func Init(cfg Config) (Initialised, error) {
	d := cfg.dir()
	if _, err := os.Stat(d.logKey()); err == nil {
		return Initialised{}, fmt.Errorf("initialise: %s is there already", d.logKey())
	}
	for _, path := range []string{string(d), d.agents()} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return Initialised{}, fmt.Errorf("initialise: %w", err)
		}
	}
	skey, vkey, err := translog.GenerateKey(cfg.origin())
	if err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	token := "sluice-bootstrap-" + rand.Text()
	hash := sha256.Sum256([]byte(token))
	err = errors.Join(
		replace(d.logPublic(), []byte(vkey+"\n"), 0o644),
		replace(d.bootstrap(), []byte(hex.EncodeToString(hash[:])+"\n"), 0o600),
		writeTrust(d, translog.Trust{Log: vkey, Agents: []string{}}),
	)
	if err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	if err := writeNew(d.logKey(), []byte(skey+"\n"), 0o600); err != nil { // last: with it the directory is complete
		return Initialised{}, fmt.Errorf("initialise: write log key: %w", err)
	}
	if _, _, err := cfg.ownKeys(); err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	console, err := d.consoleKey()
	if err != nil {
		return Initialised{}, fmt.Errorf("initialise: %w", err)
	}
	made := Initialised{LogKey: vkey, TrustFile: d.trust(), BootstrapToken: token}
	made.ConsoleKey, err = approval.FormatPublicKey(console.Public().(ed25519.PublicKey))
	return made, err
}

// enrolment is what the collector keeps of an agent.
type enrolment struct {
	Name string `json:"name"`
	User string `json:"user"` // nkey public key on the bus
	Key  string `json:"key"`  // verifier key of its batch notes and approval requests
	// Former are verifier keys that it had before and that are not revoked yet,
	// because batches under them may still be on their way.
	Former []string `json:"former,omitempty"`
}

// The files that Enrol makes for an agent.
const (
	SeedFile       = "nkey.seed"   // private: the agent's user on the bus
	SigningKeyFile = "signing.key" // private: signs batch notes and approval requests
	LogKeyFile     = "log.pub"     // the log's verifier key, which the agent pins
)

// Enrol makes an agent's keys. The private ones go to out and are kept nowhere
// else; the public ones are registered, and a running collector takes them up
// by itself. A name that is enrolled already is refused, since its chain would
// have two keys, and so is a directory that holds keys.
func Enrol(cfg Config, name, out string) error {
	d := cfg.dir()
	if !record.ValidName(name) || name == witness.Name {
		return fmt.Errorf("enrol: %q is no name: use 1 to 64 letters, digits, _ and -", name)
	}
	logKey, err := os.ReadFile(d.logPublic())
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("enrol: %w", ErrNotInitialised)
	}
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	seed, user, err := bus.NewUser()
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	skey, vkey, err := translog.GenerateKey(translog.AgentKeyName(cfg.Cluster, name))
	if err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	for file, data := range map[string][]byte{
		SeedFile: append(seed, '\n'), SigningKeyFile: []byte(skey + "\n"), LogKeyFile: logKey,
	} {
		if err := writeNew(filepath.Join(out, file), data, 0o600); err != nil {
			return fmt.Errorf("enrol: write the agent's keys: %w", err)
		}
	}
	if err := register(d, enrolment{Name: name, User: user, Key: vkey}); err != nil {
		return fmt.Errorf("enrol: %w", err)
	}
	return nil
}

// register keeps an agent's public keys and pins them for verifiers.
func register(d dir, e enrolment) error {
	encoded, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return err
	}
	err = writeNew(d.agent(e.Name), append(encoded, '\n'), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is enrolled already", e.Name)
	}
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	if err := pin(d, e.Key); err != nil {
		return fmt.Errorf("register: %w", err)
	}
	return nil
}

func writeTrust(d dir, trust translog.Trust) error {
	encoded, err := json.MarshalIndent(trust, "", "  ")
	if err != nil {
		return err
	}
	if err := replace(d.trust(), append(encoded, '\n'), 0o644); err != nil {
		return fmt.Errorf("write trust file: %w", err)
	}
	return nil
}
