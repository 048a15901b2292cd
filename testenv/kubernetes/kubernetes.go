// Package kubernetes runs a real API server with its etcd, for tests and labs.
// No controller runs: what one would do, whoever starts it does.
package kubernetes

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says what server is started.
type Config struct {
	// Dir is an empty directory for its keys, state and logs.
	Dir string
	// Programs has at least etcd and kube-apiserver.
	Programs Programs
	// Address and Port are where clients find it. Without a port a free one is
	// taken.
	Address string
	Port    int
	// Listen is the address that it listens on; empty is Address.
	Listen string
	// StorePort is etcd's on 127.0.0.1, and the next one is taken too. Without
	// one free ones are.
	StorePort int
	// Names are in its certificate, beside the address and 127.0.0.1.
	Names []string
	// Users have a token each. There is an administrator beside them.
	Users []User
	// Flags are more for kube-apiserver.
	Flags []string
	// Run runs a program; nil runs it as a child of this process, with its
	// output in NAME.log below Dir.
	Run func(name string, argv ...string) (Process, error)
	// Dial is how the administrator's client connects; nil is the net package's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Process is a program that runs.
type Process struct {
	Stop  func() error // and wait for its end
	Alive func() bool
}

// User is one that has a token.
type User struct {
	Name, Token string
	Groups      []string
}

// Server is an API server that runs.
type Server struct {
	URL        string // with its address, which is in the certificate
	CAFile     string // of the authority that its certificate is of
	AdminToken string // of a user who may all
	Roots      *x509.CertPool
	AuditLog   string // one JSON object for each request that it has answered
	Admin      *Client

	config Config
	users  *authority // while it runs
	parts  []Process
}

const admin = "admin"

// Small are flags with which a server starts sooner and idles at less: without
// the APIs and the admission that nothing here asks for.
var Small = []string{
	"--enable-priority-and-fairness=false", "--max-requests-inflight=100", "--max-mutating-requests-inflight=50", "--profiling=false",
	"--runtime-config=api/all=false,api/v1=true,apps/v1=true,batch/v1=true,rbac.authorization.k8s.io/v1=true,authentication.k8s.io/v1=true,authorization.k8s.io/v1=true,apiregistration.k8s.io/v1=true,apiextensions.k8s.io/v1=true,admissionregistration.k8s.io/v1=true,networking.k8s.io/v1=true,coordination.k8s.io/v1=true",
	"--disable-admission-plugins=ServiceAccount,LimitRanger,ResourceQuota,PodSecurity,Priority,DefaultStorageClass,StorageObjectInUseProtection,PersistentVolumeClaimResize,RuntimeClass,CertificateApproval,CertificateSigning,CertificateSubjectRestriction,DefaultIngressClass,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ClusterTrustBundleAttest,TaintNodesByCondition,DefaultTolerationSeconds",
}

// Start runs etcd and kube-apiserver, and returns when it answers. It needs no
// namespace to be made but those of Kubernetes' own. The context is for the
// start alone: Stop ends it.
func Start(ctx context.Context, config Config) (s *Server, err error) {
	s = &Server{CAFile: filepath.Join(config.Dir, "ca.pem"), AuditLog: filepath.Join(config.Dir, "audit.log"), config: config}
	if err := s.choose(); err != nil {
		return nil, err
	}
	if err := errors.Join(s.writeKeys(), s.writeFiles()); err != nil {
		return nil, err
	}
	if s.Roots, err = readRoots(s.CAFile); err != nil {
		return nil, err
	}
	s.Admin = newClient(s.URL, s.AdminToken, s.Roots, s.config.Dial)
	if err := errors.Join(s.run("etcd", s.etcd()), s.run("kube-apiserver", s.apiserver()), s.wait(ctx)); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Stop ends what was started, the last first.
func (s *Server) Stop() (err error) {
	for _, part := range slices.Backward(s.parts) {
		err = errors.Join(err, part.Stop())
	}
	s.parts = nil
	return err
}

// Tail is the end of a program's log, for people to read.
func (s *Server) Tail(name string) string {
	text, _ := os.ReadFile(s.path(name + ".log"))
	return string(text[max(0, len(text)-3000):])
}

func (s *Server) path(name string) string { return filepath.Join(s.config.Dir, name) }

// choose fills in what the configuration leaves open.
func (s *Server) choose() error {
	var err error
	if s.config.Listen == "" {
		s.config.Listen = s.config.Address
	}
	if s.config.Port == 0 {
		s.config.Port, err = freePorts(s.config.Listen, 1)
	}
	if s.config.StorePort == 0 && err == nil {
		s.config.StorePort, err = freePorts("127.0.0.1", 2)
	}
	if err != nil {
		return err
	}
	if s.config.Run == nil {
		s.config.Run = s.child
	}
	s.URL = "https://" + net.JoinHostPort(s.config.Address, strconv.Itoa(s.config.Port))
	s.AdminToken = newToken()
	return nil
}

func (s *Server) run(name string, args []string) error {
	part, err := s.config.Run(name, append([]string{s.config.Programs[name]}, args...)...)
	if err == nil {
		s.parts = append(s.parts, part)
	}
	return err
}

func (s *Server) store() string { return "http://127.0.0.1:" + strconv.Itoa(s.config.StorePort) }

func (s *Server) etcd() []string {
	return []string{
		"--data-dir", s.path("etcd"), "--listen-client-urls", s.store(), "--advertise-client-urls", s.store(),
		"--listen-peer-urls", "http://127.0.0.1:" + strconv.Itoa(s.config.StorePort+1), "--unsafe-no-fsync", "--log-level", "warn",
	}
}

func (s *Server) apiserver() []string {
	return append([]string{
		"--etcd-servers", s.store(), "--bind-address", s.config.Listen, "--advertise-address", s.config.Address, "--secure-port", strconv.Itoa(s.config.Port),
		"--cert-dir", s.path("apiserver"), "--tls-cert-file", s.path("server.pem"), "--tls-private-key-file", s.path("server.key"),
		"--client-ca-file", s.path("users.pem"), "--token-auth-file", s.path("tokens"), "--authorization-mode", "RBAC",
		"--service-account-issuer", s.URL, "--service-account-key-file", s.path("accounts.pub"),
		"--service-account-signing-key-file", s.path("accounts.key"), "--service-cluster-ip-range", "198.18.128.0/24",
		"--audit-policy-file", s.path("audit.yaml"), "--audit-log-path", s.AuditLog, "--allow-privileged",
	}, s.config.Flags...)
}

// writeFiles makes what is not keys.
func (s *Server) writeFiles() error {
	tokens := fmt.Sprintf("%s,%s,%s,\"system:masters\"\n", s.AdminToken, admin, admin)
	for _, user := range s.config.Users {
		tokens += fmt.Sprintf("%s,%s,%s,%q\n", user.Token, user.Name, user.Name, strings.Join(user.Groups, ","))
	}
	kubeconfig := Kubeconfig(s.URL, s.CAFile, s.AdminToken)
	// Who asked for what, with which headers' user agent; no bodies.
	const audit = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata}]\n"
	for name, text := range map[string]string{"tokens": tokens, "kubeconfig": kubeconfig, "audit.yaml": audit} {
		if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// KubeconfigFile is the administrator's.
func (s *Server) KubeconfigFile() string { return s.path("kubeconfig") }

// Kubeconfig is the text of one, for a server, whose authority is in a file, and
// a token.
func Kubeconfig(url, caFile, token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: cluster, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: user, user: {token: %q}}]
contexts: [{name: context, context: {cluster: cluster, user: user}}]
current-context: context
`, url, caFile, token)
}

// wait returns when the server is ready and has made its default namespace.
func (s *Server) wait(ctx context.Context) error {
	err := Until(ctx, 2*time.Minute, func() (bool, error) {
		for _, part := range s.parts {
			if !part.Alive() {
				return false, errors.New("a part of it has ended")
			}
		}
		if err := s.Admin.ready(ctx); err != nil { // the roles of RBAC are there then
			return false, nil //nolint:nilerr // not yet
		}
		_, err := s.Admin.Call(ctx, http.MethodGet, "/api/v1/namespaces/default", nil)
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the API server does not answer: %w\n%s\n%s", err, s.Tail("etcd"), s.Tail("kube-apiserver"))
	}
	return nil
}
