package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"

	"github.com/sluicegate/sluice/pkg/workload"
)

// maxStatement bounds what a provider's API answers, in bytes.
const maxStatement = 64 << 10

// wayOf is how a provider of a kind is asked.
func (p Provider) wayOf() (way, error) {
	switch p.Kind {
	case "github":
		return way{[]string{"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"}, workload.Minted, (*provider).askGitHub}, nil
	case "buildkite":
		return way{[]string{"BUILDKITE_JOB_ID", "BUILDKITE_AGENT_ACCESS_TOKEN"}, workload.Minted, (*provider).askBuildkite}, nil
	case "gitlab":
		return way{[]string{"CI_JOB_TOKEN"}, workload.Verified, (*provider).askGitLab}, nil
	case "environment":
		return way{[]string{p.Variable}, workload.Verified, (*provider).readToken}, nil
	}
	return way{}, errors.New("it is none of github, buildkite, gitlab and environment")
}

func newProvider(ctx context.Context, configured Provider, dial Dialer) (p *provider, err error) {
	p = &provider{Provider: configured}
	if p.way, err = p.wayOf(); err != nil {
		return nil, err
	}
	if err := errors.Join(checkURL(p.Issuer), p.validate(), validBindings(p.Bind)); err != nil {
		return nil, err
	}
	if p.client, err = newClient(p.CAFile, askFor, dial); err != nil {
		return nil, err
	}
	if p.Kind != "gitlab" {
		p.source, err = newSource(ctx, p.Issuer, p.Audience, p.CAFile, nil, dial)
	}
	return p, err
}

// host is a name with labels, and a port where that is not 443.
var host = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?$`)

func (p Provider) validate() error {
	switch {
	case (p.Kind == "github") != (len(p.Hosts) > 0):
		return errors.New("hosts belongs to github, which needs it")
	case (p.Kind == "environment") != (p.Variable != ""):
		return errors.New("variable belongs to environment, which needs it")
	case (p.Kind == "gitlab") != (p.Audience == ""):
		return errors.New("all but gitlab need an audience")
	case slices.ContainsFunc(p.Hosts, func(name string) bool { return !host.MatchString(name) }):
		return errors.New("hosts are names with a dot, in lower case, as actions.githubusercontent.com")
	}
	return nil
}

// token verifies one of the provider's.
func (p *provider) token(ctx context.Context, raw, audience string) (statement, error) {
	token, err := p.source.verify(ctx, raw, audience)
	if err != nil {
		return statement{}, err
	}
	said := statement{expires: token.Expiry}
	if err := token.Claims(&said.claims); err != nil {
		return statement{}, errors.New("read claims: they are no object")
	}
	return said, nil
}

// call sends a request to the provider's API and reads its answer. The error
// holds neither what was sent nor what came.
func (p *provider) call(request *http.Request, into any) error {
	request.Header.Set("Accept", "application/json")
	response, err := p.client.Do(request)
	if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
		err = wrapped.Err // without the address, which a job may have written
	}
	if err != nil {
		return fmt.Errorf("%w: %s", ErrProviderAway, brief(err))
	}
	defer response.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatement+1))
	switch code := response.StatusCode; {
	case err != nil:
		return fmt.Errorf("%w: %s", ErrProviderAway, brief(err))
	case code == http.StatusTooManyRequests || code >= http.StatusInternalServerError:
		return fmt.Errorf("%w: it answered %d", ErrProviderAway, code)
	case code != http.StatusOK && code != http.StatusCreated:
		return fmt.Errorf("the provider does not take the credential: it answered %d", code)
	case len(body) > maxStatement || json.Unmarshal(body, into) != nil:
		return errors.New("the provider's answer is not what it should be")
	}
	return nil
}
