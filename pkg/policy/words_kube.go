package policy

import (
	"errors"

	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/operation"
)

// What is asked of no cluster, and not over HTTP.
var (
	nothingOfACluster operation.Kube
	noRequest         operation.HTTP
)

// kube returns what is asked of a cluster.
func (s *scope) kube() *operation.Kube {
	if s.op.Kube == nil {
		return &nothingOfACluster
	}
	return s.op.Kube
}

// http returns the request.
func (s *scope) http() *operation.HTTP {
	if s.op.HTTP == nil {
		return &noRequest
	}
	return s.op.HTTP
}

// kubeVerbs are all that op.kube.verb can be: Kubernetes' own words, and the
// methods in lower case where no resource is meant.
var kubeVerbs = []string{
	"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "head", "post", "put", "options",
}

func kubeObject() object {
	text := func(name, doc string, get func(k *operation.Kube) any) field {
		return field{name: name, typ: cel.StringType, doc: doc, get: of(get)}
	}
	verb := text("verb", "what is done; exec, attach, portforward and proxy are create", func(k *operation.Kube) any { return k.Verb })
	verb.values = kubeVerbs
	return object{kubeType, []field{
		verb,
		text("group", "the API group, as in \"apps\"; empty: the core group", func(k *operation.Kube) any { return k.Group }),
		text("version", "of the API, as in \"v1\"", func(k *operation.Kube) any { return k.Version }),
		text("resource", "in the plural, as in \"pods\"; empty: no resource, as of /version", func(k *operation.Kube) any { return k.Resource }),
		text("subresource", "as in \"exec\", \"log\", \"scale\"", func(k *operation.Kube) any { return k.Subresource }),
		text("namespace", "of a namespace its own name; empty: the whole cluster", func(k *operation.Kube) any { return k.Namespace }),
		text("name", "empty: a collection, all of its objects, or a name that the server makes up", func(k *operation.Kube) any { return k.Name }),
		{
			name: "command", typ: stringsType, doc: "of an exec, the program and its arguments",
			get: of(func(k *operation.Kube) any { return k.Command }),
		},
		text("container", "of an exec, attach or log; empty: the pod's default", func(k *operation.Kube) any { return k.Container }),
		{
			name: "dry_run", typ: cel.BoolType, doc: "the server is asked to store nothing",
			get: of(func(k *operation.Kube) any { return k.DryRun }),
		},
		{
			name: "port", typ: cel.IntType, doc: "of one connection of a port-forward, the pod's; 0 otherwise, and for the port-forward itself",
			get: of(func(k *operation.Kube) any { return int64(k.Port) }),
		},
	}}
}

func httpObject() object {
	text := func(name, doc string, get func(h *operation.HTTP) any) field {
		return field{name: name, typ: cel.StringType, doc: doc, get: of(get)}
	}
	return object{httpType, []field{
		text("method", "in upper case, as in \"GET\"", func(h *operation.HTTP) any {
			if h.Form {
				return errStreamed
			}
			return h.Method
		}),
		text("host", "as the client wrote it, without the port, in lower case; of a cluster a job can write any", func(h *operation.HTTP) any { return h.Host }),
		text("path", "decoded", func(h *operation.HTTP) any { return h.Path }),
		text("query", "as the client wrote it", func(h *operation.HTTP) any { return h.Query }),
		text("body", "whole, as the client wrote it", func(h *operation.HTTP) any {
			if h.Streamed {
				return errStreamed
			}
			return string(h.Body.Reveal())
		}),
	}}
}

// errStreamed is what a condition gets that reads what the body of a request
// decides, where it is forwarded as it comes. A condition that is true or false
// whatever it says has its answer: in CEL false && error is false.
var errStreamed = errors.New("the body is streamed")
