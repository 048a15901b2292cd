package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// validate reports what cannot work in an issuer.
func (i *Issuer) validate(report Problems, path string) {
	required(report, path+".issuer", i.Issuer, "the issuer's URL, as its tokens have it in iss")
	if i.Issuer != "" {
		address(report, path+".issuer", i.Issuer, "https")
	}
	required(report, path+".audience", i.Audience, "the audience that tokens for Sluice are minted for")
	required(report, path+".token_file", string(i.TokenFile), "where tokens lie, as in /run/tokens/{container_id}/token")
	if i.TokenFile != "" {
		fields := strings.NewReplacer("{container_id}", "", "{pod_uid}", "").Replace(string(i.TokenFile))
		if fields == string(i.TokenFile) || strings.ContainsAny(fields, "{}") {
			report(path+".token_file", "must differ per workload: put {container_id} or {pod_uid} in it, and no other braces")
		}
	}
	validateBindings(report, path, i.Bind)
}

// host is a name with labels in lower case, and a port where that is not 443.
var host = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?$`)

// validate reports what cannot work in a provider.
func (p *Provider) validate(report Problems, path string) {
	if !slices.Contains([]string{"github", "buildkite", "gitlab", "environment"}, p.Kind) {
		report(path+".kind", "%q is not known: write github, buildkite, gitlab or environment", p.Kind)
	}
	required(report, path+".issuer", p.Issuer, "the provider's URL, as its tokens have it in iss")
	if p.Issuer != "" {
		address(report, path+".issuer", p.Issuer, "https")
	}
	if strings.HasSuffix(p.Issuer, "/") {
		report(path+".issuer", "ends with a slash: write it without")
	}
	belongs(report, path+".audience", p.Audience != "", p.Kind != "gitlab", "the audience that tokens are minted for")
	belongs(report, path+".hosts", len(p.Hosts) > 0, p.Kind == "github", "whom a job's request for a token may go to, as in actions.githubusercontent.com")
	belongs(report, path+".variable", p.Variable != "", p.Kind == "environment", "the variable that holds the token")
	for i, name := range p.Hosts {
		if !host.MatchString(name) {
			report(fmt.Sprintf("%s.hosts[%d]", path, i), "%q is not a host: write a name with a dot in lower case, as in actions.githubusercontent.com, without * or a scheme", name)
		}
	}
	validateBindings(report, path, p.Bind)
}

// belongs reports what is there and has no use, or is missing.
func belongs(report Problems, path string, there, needed bool, what string) {
	switch {
	case there && !needed:
		report(path, "has no use with this kind")
	case !there && needed:
		report(path, "is missing: write %s", what)
	}
}

// validateBindings reports what cannot tie a token to a workload.
func validateBindings(report Problems, path string, bind []Binding) {
	if len(bind) == 0 {
		report(path+".bind", "is missing: say which claim equals which fact, as in [{claim: kubernetes.io/pod/uid, to: pod_uid}]")
	}
	for j, b := range bind {
		at := fmt.Sprintf("%s.bind[%d]", path, j)
		required(report, at+".claim", b.Claim, "the path of a claim, as in kubernetes.io/pod/uid")
		label, isLabel := strings.CutPrefix(b.To, "label:")
		if !slices.Contains([]string{"pod_uid", "container_id", "container_name"}, b.To) && (!isLabel || label == "") {
			report(at+".to", "%q is not a fact: write pod_uid, container_id, container_name or label: and a label's name", b.To)
		}
	}
}
