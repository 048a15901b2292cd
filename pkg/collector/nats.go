package collector

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/bus"
)

// embedded is the NATS server in this process. Each agent is a user with
// exactly the permissions of bus.AgentPermissions; the collector is a user of
// its own, whose key lives only in memory.
type embedded struct {
	server  *server.Server
	options func() (*server.Options, error)
	seed    []byte // of the collector's user
}

// readyTime bounds how long the server may take to start: it reads its streams
// back.
const readyTime = 30 * time.Second

func startNATS(cfg Config, agents *registry, log *zap.Logger) (*embedded, error) {
	seed, user, err := bus.NewUser()
	if err != nil {
		return nil, err
	}
	e := &embedded{seed: seed, options: func() (*server.Options, error) { return natsOptions(cfg, agents, user) }}
	options, err := e.options()
	if err != nil {
		return nil, err
	}
	if e.server, err = server.NewServer(options); err != nil {
		return nil, fmt.Errorf("start bus: %w", err)
	}
	e.server.SetLoggerV2(natsLog{log.Named("nats").Sugar()}, false, false, false)
	go e.server.Start()
	if !e.server.ReadyForConnections(readyTime) {
		e.stop()
		return nil, fmt.Errorf("start bus: not ready after %v", readyTime)
	}
	if !e.server.JetStreamEnabled() {
		e.stop()
		return nil, errors.New("start bus: JetStream cannot use its directory")
	}
	return e, nil
}

// reload gives the server the users of the agents that are enrolled now.
func (e *embedded) reload() error {
	options, err := e.options()
	if err != nil {
		return err
	}
	if err := e.server.ReloadOptions(options); err != nil {
		return fmt.Errorf("reload bus: %w", err)
	}
	return nil
}

func (e *embedded) stop() {
	e.server.Shutdown()
	e.server.WaitForShutdown()
}

func natsOptions(cfg Config, agents *registry, collector string) (*server.Options, error) {
	port := int(cfg.Bus.Listen.Port())
	if port == 0 {
		port = server.RANDOM_PORT
	}
	options := &server.Options{
		ServerName:        "sluice-" + cfg.Cluster,
		Host:              cfg.Bus.Listen.Addr().String(),
		Port:              port,
		NoSigs:            true,
		MaxPayload:        1 << 20,
		MaxPending:        16 << 20, // of one slow client
		MaxSubs:           64,       // of one client
		JetStream:         true,
		StoreDir:          cfg.dir().bus(),
		SyncAlways:        true,
		JetStreamMaxStore: int64(cfg.Bus.StreamLimit) + 64<<20, // and the approval requests
		Nkeys:             []*server.NkeyUser{{Nkey: collector}},
	}
	for name, agent := range agents.all() {
		allowed, err := bus.AgentPermissions(cfg.Cluster, name)
		if err != nil {
			return nil, err
		}
		options.Nkeys = append(options.Nkeys, &server.NkeyUser{
			Nkey: agent.User,
			Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: allowed.Publish},
				Subscribe: &server.SubjectPermission{Allow: allowed.Subscribe},
			},
		})
	}
	if cfg.Bus.CertFile == "" {
		return options, nil
	}
	certificate, err := tls.LoadX509KeyPair(string(cfg.Bus.CertFile), string(cfg.Bus.KeyFile))
	if err != nil {
		return nil, fmt.Errorf("bus: load certificate: %w", err)
	}
	options.TLS = true
	options.TLSTimeout = 5
	options.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{certificate}}
	return options, nil
}

// natsLog writes the server's messages to ours.
type natsLog struct{ log *zap.SugaredLogger }

// Noticef says what the server does; of no interest while all is well.
func (l natsLog) Noticef(format string, args ...any) { l.log.Debugf(format, args...) }

// Warnf says what needs attention later.
func (l natsLog) Warnf(format string, args ...any) { l.log.Warnf(format, args...) }

// Fatalf says why the server stops; it does not end this program.
func (l natsLog) Fatalf(format string, args ...any) { l.log.Errorf(format, args...) }

// Errorf says what needs attention now.
func (l natsLog) Errorf(format string, args ...any) { l.log.Errorf(format, args...) }

// Debugf is off.
func (l natsLog) Debugf(string, ...any) {}

// Tracef is off: it would show what is sent.
func (l natsLog) Tracef(string, ...any) {}
