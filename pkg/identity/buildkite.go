package identity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
)

// jobUUID is how Buildkite names jobs. It needs no escaping.
var jobUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// buildkiteClaims are those that a token has only if it is asked for them.
var buildkiteClaims = []string{"organization_id", "pipeline_id", "build_id"}

// askBuildkite has a token minted that is meant for us, as `buildkite-agent oidc
// request-token` does (buildkite/agent, api/oidc.go).
func (p *provider) askBuildkite(ctx context.Context, credential []string) (statement, error) {
	if !jobUUID.MatchString(credential[0]) {
		return statement{}, errors.New("the job's id is not one of Buildkite's")
	}
	audience := p.fresh()
	body, err := json.Marshal(map[string]any{"audience": audience, "claims": buildkiteClaims})
	if err != nil {
		return statement{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Issuer+"/v3/jobs/"+credential[0]+"/oidc/tokens", bytes.NewReader(body))
	if err != nil {
		return statement{}, err
	}
	request.Header.Set("Authorization", "Token "+credential[1])
	request.Header.Set("Content-Type", "application/json")
	var answer struct {
		Token string `json:"token"`
	}
	if err := p.call(request, &answer); err != nil {
		return statement{}, err
	}
	return p.token(ctx, answer.Token, audience)
}
