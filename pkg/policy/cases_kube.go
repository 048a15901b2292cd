package policy

import "github.com/sluicegate/sluice/pkg/operation"

// kubeClause is what a case asks of a cluster.
type kubeClause struct {
	Verb        string   `yaml:"verb"`
	Group       string   `yaml:"group"`
	Version     string   `yaml:"version"`
	Resource    string   `yaml:"resource"`
	Subresource string   `yaml:"subresource"`
	Namespace   string   `yaml:"namespace"`
	Name        string   `yaml:"name"`
	Command     []string `yaml:"command"`
	Container   string   `yaml:"container"`
	DryRun      bool     `yaml:"dry_run"`
	Port        uint16   `yaml:"port"`
}

// httpClause is a request of a case's.
type httpClause struct {
	Method string `yaml:"method"`
	Host   string `yaml:"host"`
	Path   string `yaml:"path"`
	Query  string `yaml:"query"`
	Body   string `yaml:"body"`
}

func (k *kubeClause) validate(word func(at, value string, known []string)) {
	if k != nil {
		word(".op.kube.verb", k.Verb, valuesOf(kubeObject(), "verb"))
	}
}

func (k *kubeClause) asked() *operation.Kube {
	if k == nil {
		return nil
	}
	return &operation.Kube{
		Verb: k.Verb, Group: k.Group, Version: k.Version, Resource: k.Resource, Subresource: k.Subresource,
		Namespace: k.Namespace, Name: k.Name, Command: k.Command, Container: k.Container, DryRun: k.DryRun, Port: k.Port,
	}
}

func (h *httpClause) asked() *operation.HTTP {
	if h == nil {
		return nil
	}
	return &operation.HTTP{Method: h.Method, Host: h.Host, Path: h.Path, Query: h.Query, Body: operation.Text(h.Body)}
}
