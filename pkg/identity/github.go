package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// maxRequestURL bounds where a job may send us, in bytes.
const maxRequestURL = 4 << 10

var errForeignURL = errors.New("the request for a token would go to somebody whom the configuration does not name")

// askGitHub has a token minted that is meant for us, as @actions/core's
// getIDToken does. Forgejo has the same contract.
//
// The audience ends in what nobody can know before, so that no token which was
// minted earlier is an answer, whatever the address that the job wrote leads to.
func (p *provider) askGitHub(ctx context.Context, credential []string) (statement, error) {
	audience := p.fresh()
	to, err := p.requestURL(credential[0], audience)
	if err != nil {
		return statement{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, to, nil)
	if err != nil {
		return statement{}, errForeignURL
	}
	request.Header.Set("Authorization", "Bearer "+credential[1])
	var answer struct {
		Value string `json:"value"`
	}
	if err := p.call(request, &answer); err != nil {
		return statement{}, err
	}
	return p.token(ctx, answer.Value, audience)
}

// fresh is an audience that no token has yet.
func (p *provider) fresh() string { return p.Audience + ":" + rand.Text() }

// requestURL adds an audience to the address that a job wrote, if that is one of
// a token service and of a host that the configuration names.
func (p Provider) requestURL(written, audience string) (string, error) {
	to, err := url.Parse(written)
	if err != nil || len(written) > maxRequestURL {
		return "", errForeignURL
	}
	query, err := url.ParseQuery(to.RawQuery)
	if err != nil || query.Has("audience") {
		return "", errForeignURL
	}
	plain := to.Scheme == "https" && to.User == nil && to.Opaque == "" && to.Fragment == "" && to.RawPath == ""
	if !plain || !p.named(to) || path.Base(to.Path) != "idtoken" || strings.Contains(to.Path, "..") {
		return "", errForeignURL
	}
	query.Set("audience", audience)
	to.RawQuery = query.Encode()
	return to.String(), nil
}

// named reports whether an address is of a host that the configuration names, or
// of one whose name ends in a dot and that name.
func (p Provider) named(to *url.URL) bool {
	name, port := to.Hostname(), to.Port()
	if port == "" {
		port = "443"
	}
	for _, configured := range p.Hosts {
		allowed, itsPort, found := strings.Cut(configured, ":")
		if !found {
			itsPort = "443"
		}
		if port == itsPort && (name == allowed || strings.HasSuffix(name, "."+allowed)) {
			return true
		}
	}
	return false
}
