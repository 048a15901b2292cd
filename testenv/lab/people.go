package main

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/testenv/issuer"
)

const (
	issuerAddress = "127.0.0.1:8443" // inside the node's netns
	issuerURL     = "https://" + issuerAddress
	audience      = "sluice"
	approverName  = "approver"
)

func (l *lab) issuer() (*issuer.Issuer, error) { return issuer.New(issuerURL, l.path("issuer")) }

// makePeople starts the issuer of tokens and makes the one person of the lab:
// an approver with a key of their own, in a roster that an offline root signed.
func (l *lab) makePeople() error {
	for _, dir := range []string{l.path("issuer"), l.path("ctl"), l.path("tokens")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := l.authority.issue(l.path("issuer", "tls.key"), l.path("issuer", "tls.crt"), "issuer.lab", "127.0.0.1"); err != nil {
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
	return errors.Join(l.signRoster(), l.mintPerson())
}

// serveIssuer serves the issuer's keys until it is ended.
func (l *lab) serveIssuer() error {
	i, err := l.issuer()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(l.path("issuer", "tls.crt"), l.path("issuer", "tls.key"))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", issuerAddress)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: i.Handler(), ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
}

// publicKey reads a key's public half, as it stands in rosters.
func (l *lab) publicKey(name string) (string, error) {
	text, err := os.ReadFile(l.path("ctl", name+".pub"))
	return string(text), err
}

func (l *lab) signRoster() error {
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
		Version:  1,
		NotAfter: time.Now().AddDate(0, 1, 0),
		Approvers: []approval.Approver{{
			Name:     approverName,
			Accounts: []approval.Account{{Issuer: issuerURL, Subject: approverName}},
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
// say who triggered the job.
func (l *lab) projectToken(container string) error {
	i, err := l.issuer()
	if err != nil {
		return err
	}
	token, err := i.Mint(map[string]any{
		"sub": "repo:acme/shop:ref:refs/heads/main", "aud": audience,
		"repository": "acme/shop", "actor": "developer", "actor_id": "1001",
		"sluice": map[string]any{"container_id": container},
	})
	if err != nil {
		return err
	}
	dir := l.path("tokens", container)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return issuer.Project(dir, token)
}
