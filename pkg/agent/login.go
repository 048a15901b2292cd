package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sluicegate/sluice/pkg/credential"
	"github.com/sluicegate/sluice/pkg/policy"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// speaks reports what keeps this agent from serving a resource: a protocol that
// it does not speak, or a login or a proof of the server that its protocol
// cannot use.
func (a *Agent) speaks(resource policy.Resource) error {
	speaker := a.Protocols[resource.Protocol]
	if speaker == nil {
		return fmt.Errorf("resource %s: this agent does not speak %q", resource.Name, resource.Protocol)
	}
	info := speaker.Info()
	if resource.Observe {
		return nil // the job logs in and checks the server by itself
	}
	if !resource.Select.IsZero() && !info.Chooses {
		return fmt.Errorf("resource %s: select: %s says nothing to select by", resource.Name, resource.Protocol)
	}
	if len(resource.Select.ServerNames) > 0 && a.Trust == nil {
		return fmt.Errorf("resource %s: select.server_names: a job that names a server asks for TLS, which needs the configuration's trust.ca_file", resource.Name)
	}
	var errs []error
	for i, source := range a.Policy.Credentials(resource.Name) {
		if loginOf(source)&^info.Logins != 0 {
			errs = append(errs, fmt.Errorf("resource %s: credentials[%d]: %s cannot log in with all that it names", resource.Name, i, resource.Protocol))
		}
	}
	if known := len(a.Servers[resource.Name].KnownHosts) > 0; known != info.HostKeys {
		word := map[bool]string{true: "has no use here", false: "is missing"}[known]
		errs = append(errs, fmt.Errorf("resource %s: server_ssh.known_hosts_file %s", resource.Name, word))
	}
	if info.HostKeys && a.HostTrust == nil {
		errs = append(errs, fmt.Errorf("resource %s: %s needs the configuration's trust.ssh_key_file", resource.Name, resource.Protocol))
	}
	return errors.Join(errs...)
}

// loginOf says what a credential logs in with.
func loginOf(source policy.CredentialSource) (uses protocol.Login) {
	if source.PasswordFile != "" {
		uses |= protocol.PasswordLogin
	}
	switch {
	case source.CertFile != "":
		uses |= protocol.CertificateLogin
	case source.KeyFile != "":
		uses |= protocol.KeyLogin
	}
	if source.CAKeyFile != "" {
		uses |= protocol.AuthorityLogin
	}
	if source.TokenFile != "" {
		uses |= protocol.TokenLogin
	}
	if source.Header != "" {
		uses |= protocol.HeaderLogin
	}
	return uses
}

// login reads what the agent logs in to the server with: nothing where it only
// observes.
func (a *Agent) login(ctx context.Context, s *session.Session, observe bool) (login protocol.Credential, err error) {
	if observe {
		return protocol.Credential{}, nil
	}
	source, err := a.Policy.Credential(s)
	if err != nil {
		return protocol.Credential{}, err
	}
	login.User, login.Header = source.User, source.Header
	for _, part := range []struct {
		path string
		read func(file io.Reader) error
	}{
		{source.PasswordFile, func(file io.Reader) (err error) { login.Password, err = credential.Read(file); return err }},
		{source.KeyFile, func(file io.Reader) (err error) { login.Key, err = credential.ReadKey(file); return err }},
		{source.CertFile, func(file io.Reader) (err error) { login.Certificate, err = credential.ReadKey(file); return err }},
		{source.CAKeyFile, func(file io.Reader) (err error) { login.Authority, err = credential.ReadKey(file); return err }},
		{source.TokenFile, func(file io.Reader) (err error) { login.Token, err = credential.ReadToken(file); return err }},
	} {
		if part.path == "" {
			continue
		}
		if err := a.secret(ctx, part.path, part.read); err != nil {
			return protocol.Credential{}, err
		}
	}
	return login, nil
}

// secret opens one file of a credential, which only the privileged half can.
func (a *Agent) secret(ctx context.Context, path string, read func(file io.Reader) error) error {
	file, err := a.Broker.Open(ctx, path)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // only read
	return read(file)
}
