package operation

import "strings"

// Kube is what a rule can see of something that is asked of a Kubernetes API
// server, as op.kube.
type Kube struct {
	// Verb is Kubernetes' own word: get, list, watch, create, update, patch,
	// delete or deletecollection, and the method in lower case where no resource
	// is meant. What opens a stream into a pod or a node (exec, attach,
	// portforward, proxy) is create, whatever its method, because both methods do
	// the same.
	Verb        string
	Group       string // of the API; empty: the core group
	Version     string
	Resource    string // in the plural, as in pods; empty: no resource is meant
	Subresource string
	Namespace   string // empty: the whole cluster
	Name        string // empty: a collection, or a name that the server makes up
	Command     []string
	Container   string // that an exec, an attach or a log names; empty: the pod's default
	DryRun      bool   // nothing is to be stored
	Port        uint16 // of a pod, of one connection of a port-forward; 0: of none, or of all that it may make
}

// Summary says in a few words what is asked, as in "delete pods/web-1 in shop".
// It holds what a client wrote.
func (k *Kube) Summary() string {
	words := k.Verb
	if k.Resource == "" {
		return words
	}
	words += " " + k.Resource
	for _, part := range []struct{ before, text string }{{".", k.Group}, {"/", k.Name}, {"/", k.Subresource}} {
		if part.text != "" {
			words += part.before + part.text
		}
	}
	if k.Namespace != "" && k.Resource != "namespaces" {
		words += " in " + k.Namespace
	}
	if k.Container != "" {
		words += ", container " + k.Container
	}
	if len(k.Command) > 0 {
		words += ": " + strings.Join(k.Command, " ")
	}
	if k.DryRun {
		words += ", as a dry run"
	}
	return words
}
