package identity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sluicegate/sluice/pkg/workload"
)

// Issuer is one issuer of workloads' tokens, and how a token of it is found and
// bound.
type Issuer struct {
	URL        string   // as in the iss claim; https, or http on loopback
	CAFile     string   // roots of its server's certificate; empty: the system's
	Audience   string   // that the token must be meant for
	Algorithms []string // empty: RS256 and ES256

	// TokenFile is the path of a workload's token on the node, in which
	// {container_id} and {pod_uid} stand for attested facts. The directory must
	// be one that no job can write to, as the kubelet's
	// /var/lib/kubelet/pods/{pod_uid}/volumes/… is. Links in it may not lead out
	// of the directory.
	TokenFile string
	// Bind are the claims that must equal attested facts: all of them, at
	// least one.
	Bind []Binding
}

// Why a workload is not verified.
var (
	ErrNoFact   = errors.New("what the token would be bound to is not known of this workload")
	ErrNoToken  = errors.New("there is no token for this workload")
	ErrUnbound  = errors.New("the token is not bound to this workload")
	ErrNodeRoot = errors.New("the workload can become root on the node, so a token does not say who holds it")
)

// Workloads verifies workloads. It is safe for concurrent use.
type Workloads struct {
	issuers []workloadIssuer
	open    Opener
}

// Opener opens a token file by its path, with what OpenToken promises. An error
// that is fs.ErrNotExist means that there is no such file.
type Opener func(ctx context.Context, path string) (*os.File, error)

type workloadIssuer struct {
	Issuer
	source *source
}

// NewWorkloads checks the configuration of all issuers. It asks none of them
// yet. When ctx ends nothing is fetched any more. dial opens connections to
// issuers; nil: as any program does.
func NewWorkloads(ctx context.Context, issuers []Issuer, open Opener, dial Dialer) (*Workloads, error) {
	w := &Workloads{open: open}
	var problems []error
	for _, issuer := range issuers {
		source, err := newSource(ctx, issuer.URL, issuer.Audience, issuer.CAFile, issuer.Algorithms, dial)
		problems = append(problems, err, issuer.validate())
		w.issuers = append(w.issuers, workloadIssuer{issuer, source})
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return w, nil
}

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

func (i Issuer) validate() error {
	if !filepath.IsAbs(i.TokenFile) || filepath.Clean(i.TokenFile) != i.TokenFile {
		return fmt.Errorf("issuer %s: token_file must be an absolute path", i.URL)
	}
	for _, name := range placeholder.FindAllString(i.TokenFile, -1) {
		if name != "{container_id}" && name != "{pod_uid}" {
			return fmt.Errorf("issuer %s: token_file: %s is not known: write {container_id} or {pod_uid}", i.URL, name)
		}
	}
	if err := validBindings(i.Bind); err != nil {
		return fmt.Errorf("issuer %s: %w", i.URL, err)
	}
	return nil
}

// Verify looks for a token of the workload and returns its claims if it is
// valid and bound to the workload. Otherwise bound is false, the claims are
// nil, and the error says why for each issuer; it holds nothing of a token but
// names and times. Where nobody issues tokens there is no error.
func (w *Workloads) Verify(ctx context.Context, wl workload.Workload) (claims map[string]any, bound bool, err error) {
	if len(w.issuers) == 0 {
		return nil, false, nil
	}
	if wl.Orch.NodeRoot() {
		return nil, false, ErrNodeRoot
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var reasons []error
	for _, issuer := range w.issuers {
		claims, err := issuer.verify(ctx, wl, w.open)
		if err == nil {
			return claims, true, nil
		}
		reasons = append(reasons, fmt.Errorf("issuer %s: %w", issuer.URL, err))
	}
	return nil, false, errors.Join(reasons...)
}

func (i workloadIssuer) verify(ctx context.Context, wl workload.Workload, open Opener) (map[string]any, error) {
	path, err := expand(i.TokenFile, wl)
	if err != nil {
		return nil, err
	}
	raw, err := readToken(ctx, open, path)
	if err != nil {
		return nil, err
	}
	token, err := i.source.verify(ctx, raw, i.Audience)
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	if err := token.Claims(&claims); err != nil {
		return nil, fmt.Errorf("read claims: %w", err)
	}
	if err := checkBindings(i.Bind, claims, wl); err != nil {
		return nil, err
	}
	return claims, nil
}

// pathFact matches the facts that can stand in a path: container ids and pod
// uids.
const pathFact = `[0-9a-f]+(-[0-9a-f]+)*`

var pathSafe = regexp.MustCompile(`^` + pathFact + `$`)

// expand puts facts into a path.
func expand(template string, wl workload.Workload) (string, error) {
	var err error
	path := placeholder.ReplaceAllStringFunc(template, func(name string) string {
		value := fact(wl, strings.Trim(name, "{}"))
		if !pathSafe.MatchString(value) {
			err = fmt.Errorf("%w: its %s is not known", ErrNoToken, strings.Trim(name, "{}"))
		}
		return value
	})
	return path, err
}
