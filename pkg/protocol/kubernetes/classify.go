package kubernetes

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/httpproxy"
	"github.com/sluicegate/sluice/pkg/operation"
)

// The subresources that open a stream into a pod, or lead through a node.
const (
	executing  = "exec"
	attaching  = "attach"
	forwarding = "portforward"
	proxying   = "proxy"
)

// classify says what a request asks for, refuses what would go round a mask, and
// has the server answer in a form that masks can look into. What is recorded of
// it is without what they hide.
func (s *session) classify(r *http.Request, body []byte) (operation.Operation, error) {
	op, err := classify(r, body)
	if err != nil {
		return op, err
	}
	contentType := r.Header.Get("Content-Type")
	if err := admitted(s.conn.Masks, op.Kube, contentType, body); err != nil {
		return op, err
	}
	accepted(s.conn.Masks, &op, r.Header)
	op.Text = sealed(s.conn.Masks, &op, contentType, s.seal)
	return op, nil
}

// seal appends what stands for a value that must not be kept.
func (s *session) seal(dst, value []byte) []byte {
	if s.conn.Seal != nil {
		return s.conn.Seal(dst, value)
	}
	dst = strconv.AppendInt(append(dst, "[sealed "...), int64(len(value)), 10)
	return append(dst, " bytes]"...)
}

// classify turns a request, of which the body was read whole, into an
// operation. It is pure. Its error is a Refusal: what an API server and we
// could read in two ways is not asked about at all.
//
// The operation's Text and Bytes are the same: everything that decides what the
// server does. What is not to be kept is taken out of Text by seal.
func classify(r *http.Request, body []byte) (operation.Operation, error) {
	if err := plainHeaders(r.Header); err != nil {
		return operation.Operation{}, err
	}
	target := r.URL.RequestURI()
	if r.RequestURI != "" && r.RequestURI != target {
		return operation.Operation{}, badRequest("the request target can be written in two ways")
	}
	path, query, err := splitTarget(target)
	if err != nil {
		return operation.Operation{}, err
	}
	at, err := findPlace(path)
	if err != nil {
		return operation.Operation{}, err
	}
	asked := reading{method: r.Method, place: at, path: path, contentType: r.Header.Get("Content-Type"), body: body, certain: true}
	if asked.query, err = parseQuery(query, at.resource != "" && at.subresource != proxying); err != nil {
		return operation.Operation{}, err
	}
	kube, err := asked.kube()
	if err != nil {
		return operation.Operation{}, err
	}
	kind := asked.kind()
	if r.Header.Get("Upgrade") != "" && kind == operation.Request {
		return operation.Operation{}, badRequest("only exec, attach and port-forward can change the connection's protocol")
	}
	text := httpproxy.RequestBytes(r, body)
	return operation.Operation{
		Kind: kind, Text: text, Bytes: text, Parsed: asked.certain, ReadOnly: asked.readOnly(kube.Verb),
		HTTP: &operation.HTTP{Method: r.Method, Host: httpproxy.HostOf(r.Host), Path: path, Query: query, Body: body},
		Kube: kube,
	}, nil
}

// plainHeaders refuses headers by which a server could understand another
// request than the one that was read.
func plainHeaders(h http.Header) error {
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url"} {
		if h[name] != nil {
			return badRequest("a header asks for another method or path")
		}
	}
	_, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if len(h["Content-Type"]) > 1 || err != nil && h.Get("Content-Type") != "" || len(h["Content-Encoding"]) > 0 {
		return badRequest("the headers do not say in one way how the body is to be read")
	}
	return nil
}

// reading is a request that is being read.
type reading struct {
	place
	method, path string
	query        url.Values
	contentType  string
	body         []byte
	certain      bool // everything was understood
}

// kind says what sort of operation it is.
func (r *reading) kind() operation.Kind {
	if r.resource == "pods" && r.group == "" {
		switch r.subresource {
		case executing:
			return operation.Exec
		case attaching:
			return operation.Shell
		case forwarding:
			return operation.Forward
		}
	}
	return operation.Request
}

// streams reports whether the subresource opens a stream or leads to another
// server: whatever the method, it is used.
func (r *reading) streams() bool {
	return slices.Contains([]string{executing, attaching, forwarding, proxying}, r.subresource)
}

// kube reads what is asked of the cluster.
func (r *reading) kube() (*operation.Kube, error) {
	if r.resource == "" {
		r.certain = known(r.path)
		return &operation.Kube{Verb: strings.ToLower(r.method)}, nil
	}
	k := &operation.Kube{
		Group: r.group, Version: r.version, Resource: r.resource, Subresource: r.subresource,
		Namespace: r.namespace, Name: r.name,
	}
	switch r.subresource {
	case executing:
		k.Command, k.Container = r.query["command"], r.query.Get("container")
	case attaching, "log":
		k.Container = r.query.Get("container")
	}
	var err error
	if k.Verb, err = r.verb(); err != nil {
		return nil, err
	}
	switch {
	case r.streams():
	case k.Verb == "list" || k.Verb == "watch":
		if k.Name == "" {
			k.Name, err = selectedName(r.query.Get("fieldSelector"))
		}
	case k.Verb == "delete" || k.Verb == "deletecollection":
		k.DryRun, err = r.dryDelete()
	default:
		k.DryRun, err = dry(r.query["dryRun"])
		if k.Verb == "create" && k.Name == "" {
			k.Name = r.nameInBody()
		}
	}
	if k.Resource == "serviceaccounts" && k.Subresource == "token" {
		k.DryRun = false // the token is made all the same
	}
	if k.Resource == "namespaces" && k.Group == "" && k.Namespace == "" {
		k.Namespace = k.Name // a namespace is in itself, also while it is made
	}
	return k, err
}

// verb is Kubernetes' own word for what is done to a resource.
func (r *reading) verb() (string, error) {
	watches, err := truth(r.query, "watch")
	if err != nil {
		return "", err
	}
	switch {
	case r.watched && r.method != http.MethodGet:
		return "", refuseWith(http.StatusMethodNotAllowed, "what is watched can only be read")
	case r.watched:
		return "watch", nil
	case r.streams():
		return "create", nil
	}
	switch r.method {
	case http.MethodPost:
		return "create", nil
	case http.MethodPut:
		return "update", nil
	case http.MethodPatch:
		return "patch", nil
	case http.MethodDelete:
		if r.name == "" {
			return "deletecollection", nil
		}
		return "delete", nil
	case http.MethodGet, http.MethodHead:
		switch {
		case r.name != "" && watches:
			return "", badRequest("one object cannot be watched by its own path")
		case r.name != "":
			return "get", nil
		case watches:
			return "watch", nil
		}
		return "list", nil
	}
	return "", refuseWith(http.StatusMethodNotAllowed, "resources have no such method")
}

// readOnly reports whether it is proven that nothing changes: where the API
// server answers itself. A server behind it may do anything.
func (r *reading) readOnly(verb string) bool {
	switch {
	case !r.certain || r.streams():
		return false
	case r.resource == "":
		return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions}, r.method)
	case !isOwnGroup(r.group):
		return false
	}
	return verb == "get" || verb == "list" || verb == "watch"
}

// known reports whether the path is one of those that an API server has beside
// its resources. Behind any other one there may be another API.
func known(path string) bool {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	switch parts[0] {
	case "api", "apis":
		return true // too short for a resource
	case "", "version", "healthz", "livez", "readyz", "openapi", "metrics", ".well-known", "openid", "logs", "debug":
		return true
	}
	return false
}

// isOwnGroup reports whether an API server answers for a group itself.
func isOwnGroup(group string) bool { return slices.Contains(ownGroups, group) }

// ownGroups are the API groups that API servers answer for themselves.
var ownGroups = []string{
	"", "admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io", "apps", "authentication.k8s.io",
	"authorization.k8s.io", "autoscaling", "batch", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io",
	"flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "networking.k8s.io", "node.k8s.io", "policy",
	"rbac.authorization.k8s.io", "resource.k8s.io", "scheduling.k8s.io", "storage.k8s.io", "storagemigration.k8s.io",
}
