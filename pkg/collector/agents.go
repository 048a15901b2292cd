package collector

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/translog"
)

// enrolled is an agent with its keys ready to use.
type enrolled struct {
	enrolment
	verifier *translog.Verifier
	public   ed25519.PublicKey
}

// registry is the enrolled agents, read from the agents directory and read
// again when it changes. It is safe for concurrent use.
type registry struct {
	path   string
	log    *zap.Logger
	agents atomic.Pointer[map[string]enrolled]
}

func openRegistry(path string, log *zap.Logger) (*registry, error) {
	r := &registry{path: path, log: log}
	r.agents.Store(&map[string]enrolled{})
	_, err := r.reload()
	return r, err
}

// all returns the agents by name. The map is not to be changed.
func (r *registry) all() map[string]enrolled { return *r.agents.Load() }

// key returns the verifier of an agent, nil for one that is not enrolled.
func (r *registry) key(agent string) *translog.Verifier { return r.all()[agent].verifier }

// reload reads the directory and reports whether anything is different. A
// file that cannot be read leaves out its agent alone.
func (r *registry) reload() (changed bool, err error) {
	files, err := filepath.Glob(filepath.Join(r.path, "*.json"))
	if err != nil {
		return false, err
	}
	if _, err := os.Stat(r.path); err != nil {
		return false, fmt.Errorf("read enrolled agents: %w", err)
	}
	before, now := r.all(), map[string]enrolled{}
	for _, file := range files {
		e, err := readEnrolment(file)
		if err != nil {
			r.log.Error("An enrolment cannot be read", zap.String("file", filepath.Base(file)), zap.Error(err))
			continue
		}
		now[e.Name] = e
	}
	same := maps.EqualFunc(before, now, func(a, b enrolled) bool { return reflect.DeepEqual(a.enrolment, b.enrolment) })
	if same {
		return false, nil
	}
	r.agents.Store(&now)
	return true, nil
}

func readEnrolment(file string) (enrolled, error) {
	var e enrolled
	data, err := os.ReadFile(file)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(data, &e.enrolment); err != nil {
		return e, err
	}
	if e.Name+".json" != filepath.Base(file) || !strings.HasPrefix(e.User, "U") {
		return e, errors.New("it does not describe the agent that it is named for")
	}
	if e.verifier, err = translog.NewVerifier(e.Key, e.Former...); err != nil {
		return e, err
	}
	e.public, err = translog.PublicKey(e.Key)
	return e, err
}

// watchEvery is how soon a new enrolment is noticed.
const watchEvery = 500 * time.Millisecond

// watch reloads until ctx ends and calls changed after each difference.
func (r *registry) watch(ctx context.Context, changed func() error) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		different, err := r.reload()
		if err != nil {
			r.log.Error("Enrolled agents cannot be read", zap.Error(err))
			continue
		}
		if !different {
			continue
		}
		r.log.Info("Enrolled agents changed", zap.Int("agents", len(r.all())))
		if err := changed(); err != nil {
			return err
		}
	}
}
