package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/testenv/issuer"
)

const (
	issuerPort   = 8443
	audience     = "sluice"
	approverName = "approver"
)

// issuerAddress is where the issuer listens: a browser on this machine reaches
// it, as it does the console.
func (l *lab) issuerAddress() string { return fmt.Sprintf("%s:%d", l.nodeAddress(), issuerPort) }

func (l *lab) issuerURL() string { return "https://" + l.issuerAddress() }

func (l *lab) issuer() (*issuer.Issuer, error) { return issuer.New(l.issuerURL(), l.path("issuer")) }

// makePeople starts the issuer of tokens, where people log in too, and makes
// the one person of the lab: an approver with a key of their own.
func (l *lab) makePeople() error {
	for _, dir := range []string{l.path("issuer"), l.path("ctl"), l.path("tokens"), l.path("ci")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := l.authority.issue(l.path("issuer", "tls.key"), l.path("issuer", "tls.crt"), "issuer.lab", l.nodeAddress()); err != nil {
		return err
	}
	if _, err := l.issuer(); err != nil { // makes the keys, before two processes do
		return err
	}
	p, err := spawn(l.path("issuer.log"), nil, l.inNetns(l.Node, l.path("bin", "lab"), "issuer")...)
	if err != nil {
		return err
	}
	if err := l.started("issuer", p); err != nil {
		return err
	}
	for _, key := range []string{"root", approverName} {
		if _, err := command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", key, "-f", l.path("ctl", key)); err != nil {
			return err
		}
	}
	return l.mintPerson()
}

// serveIssuer serves the issuer's keys and its logins until it is ended. It
// believes everybody who says that they are the approver or a viewer.
func (l *lab) serveIssuer() error {
	i, err := l.issuer()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(l.path("issuer", "tls.crt"), l.path("issuer", "tls.key"))
	if err != nil {
		return err
	}
	provider, err := issuer.NewProvider(i, audience, []string{l.consoleURL() + "/login/callback", "http://127.0.0.1/callback"},
		[]issuer.Person{{Name: approverName, Groups: []string{"dba"}}, {Name: "viewer", Groups: []string{"viewers"}}})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", l.issuerAddress())
	if err != nil {
		return err
	}
	system, err := l.ciSystem()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", provider)
	mux.Handle("/_apis/", system.Handler())
	mux.Handle("/v3/", system.Handler())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
}

// publicKey reads a key's public half, as it stands in rosters.
func (l *lab) publicKey(name string) (string, error) {
	text, err := os.ReadFile(l.path("ctl", name+".pub"))
	return string(text), err
}

// signRoster signs, as the offline root would, who may approve, and that the
// console may vote for who has just logged in there.
func (l *lab) signRoster() error {
	console, err := os.ReadFile(l.path("collector", "data", "console.pub"))
	if err != nil {
		return err
	}
	rootFile, err := os.ReadFile(l.path("ctl", "root"))
	if err != nil {
		return err
	}
	root, err := approval.LoadKey(rootFile, nil)
	if err != nil {
		return err
	}
	key, err := l.publicKey(approverName)
	if err != nil {
		return err
	}
	signed, err := approval.SignRoster(approval.Roster{
		Version: 1,
		Console: strings.TrimSpace(string(console)),

		ConsoleOrders: true,
		Publishers:    []string{"dba"},
		NotAfter:      time.Now().AddDate(0, 1, 0),
		Approvers: []approval.Approver{{
			Name:     approverName,
			Accounts: []approval.Account{{Issuer: l.issuerURL(), Subject: approverName}},
			Groups:   []string{"dba"},
			Keys:     []string{key},
		}},
	}, root)
	if err != nil {
		return err
	}
	return os.WriteFile(l.path("roster.json"), signed, 0o600)
}

// mintPerson makes the token with which ctl asks the collector.
func (l *lab) mintPerson() error {
	i, err := l.issuer()
	if err != nil {
		return err
	}
	token, err := i.Mint(map[string]any{
		"sub": approverName, "aud": audience, "groups": []string{"dba"},
		"exp": time.Now().AddDate(0, 0, 7).Unix(),
	})
	if err != nil {
		return err
	}
	return os.WriteFile(l.path("ctl", "token"), []byte(token), 0o600)
}

// projectToken gives a container a token that names it, where the agent looks
// and the job does not see, as a kubelet projects one for a pod. Its claims
// say who triggered the job and, if one is given, of which commit it is.
func (l *lab) projectToken(container, commit string) error {
	i, err := l.issuer()
	if err != nil {
		return err
	}
	claims := map[string]any{
		"sub": "repo:acme/shop:ref:refs/heads/main", "aud": audience,
		"repository": "acme/shop", "actor": "developer", "actor_id": "1001",
		"sluice": map[string]any{"container_id": container},
	}
	if commit != "" {
		claims["sha"] = commit
	}
	token, err := i.Mint(claims)
	if err != nil {
		return err
	}
	dir := l.path("tokens", container)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return issuer.Project(dir, token)
}
