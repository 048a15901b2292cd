package record

import (
	"bytes"
	"net/url"

	"github.com/sluicegate/sluice/pkg/operation"
)

// KubeOf returns what is recorded of something asked of a cluster.
func KubeOf(k *operation.Kube) *Kube {
	if k == nil {
		return nil
	}
	return &Kube{
		Verb: k.Verb, Group: k.Group, Version: k.Version, Resource: k.Resource, Subresource: k.Subresource,
		Namespace: k.Namespace, Name: k.Name, Container: k.Container, DryRun: k.DryRun, Port: k.Port,
	}
}

// append appends it as JSON.
func (k *Kube) append(dst []byte) []byte {
	dst = appendString(append(dst, `{"verb":`...), k.Verb)
	dst = appendStringField(dst, `,"group":`, k.Group)
	dst = appendStringField(dst, `,"version":`, k.Version)
	dst = appendStringField(dst, `,"resource":`, k.Resource)
	dst = appendStringField(dst, `,"subresource":`, k.Subresource)
	dst = appendStringField(dst, `,"namespace":`, k.Namespace)
	dst = appendStringField(dst, `,"name":`, k.Name)
	dst = appendStringField(dst, `,"container":`, k.Container)
	if k.DryRun {
		dst = append(dst, `,"dry_run":true`...)
	}
	return append(appendUintField(dst, `,"port":`, uint64(k.Port)), '}')
}

// append appends it as JSON.
func (h *HTTP) append(dst []byte) []byte {
	dst = appendString(append(dst, `{"method":`...), h.Method)
	dst = appendStringField(dst, `,"host":`, h.Host)
	dst = appendString(append(dst, `,"path":`...), h.Path)
	if h.Streamed {
		dst = append(dst, `,"streamed":true`...)
	}
	if h.Form {
		dst = append(dst, `,"form":true`...)
	}
	return append(dst, '}')
}

// HTTPOf returns what is recorded of a request beside its text.
func HTTPOf(h *operation.HTTP) *HTTP {
	if h == nil {
		return nil
	}
	return &HTTP{Method: h.Method, Host: h.Host, Path: h.Path, Streamed: h.Streamed, Form: h.Form}
}

// Operation returns what was asked of a cluster. The command line of an exec is
// in the text; one that was sealed or destroyed is gone.
func (k *Kube) Operation(text operation.Text) *operation.Kube {
	if k == nil {
		return nil
	}
	asked := &operation.Kube{
		Verb: k.Verb, Group: k.Group, Version: k.Version, Resource: k.Resource, Subresource: k.Subresource,
		Namespace: k.Namespace, Name: k.Name, Container: k.Container, DryRun: k.DryRun, Port: k.Port,
	}
	if k.Subresource == "exec" {
		query, _ := requested(text)
		if values, err := url.ParseQuery(query); err == nil {
			asked.Command = values["command"]
		}
	}
	return asked
}

// Operation returns the request, its query and its body out of the text.
func (h *HTTP) Operation(text operation.Text) *operation.HTTP {
	if h == nil {
		return nil
	}
	query, body := requested(text)
	return &operation.HTTP{Method: h.Method, Host: h.Host, Path: h.Path, Query: query, Body: body, Streamed: h.Streamed, Form: h.Form}
}

// requested takes the query and the body off the text of a request: METHOD SP
// request-target, header fields, an empty line, the body.
func requested(text operation.Text) (query string, body operation.Text) {
	head, body, _ := bytes.Cut(text.Reveal(), []byte("\n\n"))
	line, _, _ := bytes.Cut(head, []byte("\n"))
	_, after, _ := bytes.Cut(line, []byte("?"))
	return string(after), body
}
