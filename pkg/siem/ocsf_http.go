package siem

import (
	"cmp"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// kubeActivity is what is done to a cluster's objects.
func kubeActivity(k *record.Kube) activity {
	switch k.Verb {
	case "get", "list", "watch", "head", "options":
		return activity{2, "Read"}
	case "create":
		switch k.Subresource {
		case "exec", "attach", "portforward", "proxy": // nothing is created
			return other(k.Subresource)
		}
		return activity{1, "Create"}
	case "update", "patch":
		return activity{3, "Update"}
	case "delete", "deletecollection":
		return activity{4, "Delete"}
	}
	return other(k.Verb)
}

// methods are the activities of HTTP Activity, by number.
var methods = []string{2: "Delete", 3: "Get", 4: "Head", 5: "Options", 6: "Post", 7: "Put", 8: "Trace", 9: "Patch"}

func httpMethod(h *record.HTTP) activity {
	for id, name := range methods {
		if name != "" && strings.EqualFold(name, h.Method) {
			return activity{id, name}
		}
	}
	return other(h.Method)
}

// httpRequest is the request itself. Its query is in the text of the intent, and
// nowhere else.
func (e *Event) httpRequest() object {
	request := object{"uid": e.UID()}
	if e.Intent == nil || e.Intent.HTTP == nil {
		return request
	}
	h := e.Intent.HTTP
	set(request, "http_method", h.Method)
	url := object{"path": cmp.Or(h.Path, "/"), "scheme": "https"}
	set(url, "hostname", h.Host)
	if e.Header.Intent != nil {
		asked := h.Operation(operation.Text(e.Text()))
		set(url, "query_string", asked.Query)
		if size := len(asked.Body); size > 0 && !e.Body.More {
			request["body_length"] = size
		}
	}
	request["url"] = url
	return request
}

// kubeResource is the object, or the collection, that is asked for.
func kubeResource(k *record.Kube) []any {
	if k.Resource == "" {
		return nil
	}
	kind := k.Resource
	if k.Group != "" {
		kind += "." + k.Group
	}
	if k.Subresource != "" {
		kind += "/" + k.Subresource
	}
	resource := object{"name": cmp.Or(k.Name, k.Resource), "type": kind}
	set(resource, "namespace", k.Namespace)
	set(resource, "version", k.Version)
	return []any{resource}
}

// http sets OpenTelemetry's words of a request.
func (a attributes) http(in *record.Intent) {
	if in.Kube != nil {
		a.object("sluice.kube", in.Kube)
	}
	if in.HTTP != nil {
		a.text("http.request.method", in.HTTP.Method)
		a.text("url.path", in.HTTP.Path)
		a.text("sluice.http.host", in.HTTP.Host) // as the job wrote it: server.address is where it went
	}
}

// isHTTP reports whether what was asked for came over HTTP.
func (e *Event) isHTTP() bool { return e.Intent != nil && e.Intent.HTTP != nil }
