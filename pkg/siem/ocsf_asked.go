package siem

import (
	"cmp"
	"path"
	"strconv"

	"github.com/sluicegate/sluice/pkg/record"
)

// asked sets what the class wants to know of the thing that was asked for.
func (e *Event) asked(o object, c class) {
	switch c {
	case datastoreActivity:
		e.datastore(o)
	case apiActivity:
		o["api"] = e.api()
		if resources := e.resources(); len(resources) > 0 {
			o["resources"] = resources
		}
		if e.isHTTP() {
			o["http_request"] = e.httpRequest()
		}
	case sshActivity:
		if in := e.Intent; in != nil && in.SSH != nil && in.SSH.Path != "" {
			o["file"] = object{"name": path.Base(in.SSH.Path), "path": in.SSH.Path, "type_id": 0}
		}
	case httpActivity:
		o["http_request"] = e.httpRequest()
	case appLifecycle:
		o["app"] = object{"name": "sluice-agent", "vendor_name": "Sluicegate", "version": e.Header.Agent.Version}
	case detectionFinding:
		o["finding_info"] = e.finding()
	}
}

func (e *Event) datastore(o object) {
	database := object{"type_id": 1, "type": "Relational", "name": "unknown"}
	if e.Session != nil {
		database["name"], database["uid"] = e.Session.Resource, e.Session.Resource
	}
	if in := e.Intent; in != nil {
		set(database, "name", in.Database)
		if table := tableOf(in); table != "" {
			o["table"] = object{"name": table}
		}
	}
	o["database"] = database
	if text := e.Text(); text != "" {
		o["query_info"] = object{
			"uid": e.Header.Session + "/" + strconv.FormatUint(e.Header.Operation, 10), "query_string": text,
		}
	}
}

// tableOf is the first relation that a statement names.
func tableOf(in *record.Intent) string {
	for _, s := range in.Statements {
		if len(s.Relations) > 0 {
			return s.Relations[0]
		}
	}
	return ""
}

func (e *Event) api() object {
	h := &e.Header
	api := object{"operation": string(e.Type()), "service": object{"name": "sluice"}}
	switch {
	case h.Person != nil:
		api["operation"] = h.Person.Act
	case h.Order != nil:
		api["operation"] = h.Order.Kind
	case h.Approval == nil && e.Session != nil:
		api["service"] = object{"name": e.Session.Resource}
		if e.Intent != nil {
			api["operation"] = e.Intent.Kind
			if k := e.Intent.Kube; k != nil {
				api["operation"] = cmp.Or(k.Verb, e.Intent.Kind)
				set(api, "version", k.Version)
			}
		}
	}
	if h.Approval != nil {
		api["request"] = object{"uid": h.Approval.ID}
	}
	return api
}

// resources are what an act is about: a cluster's object, a repository and its refs,
// or a session.
func (e *Event) resources() []any {
	h := &e.Header
	switch {
	case e.Intent != nil && e.Intent.Kube != nil:
		return kubeResource(e.Intent.Kube)
	case e.Intent != nil && e.Intent.Git != nil:
		all := []any{object{"name": e.Intent.Git.Repository, "type": "repository"}}
		for _, ref := range e.Intent.Git.Refs {
			all = append(all, object{"name": ref.Name, "type": "ref"})
		}
		return all
	case h.Order != nil:
		for _, about := range [][2]string{{"session", h.Order.Session}, {"container", h.Order.Container}, {"run", h.Order.Run}} {
			if about[1] != "" {
				return []any{object{"name": about[1], "type": about[0]}}
			}
		}
	case h.Person != nil && e.Text() != "":
		return []any{object{"name": e.Text(), "type": "subject"}}
	}
	return nil
}

func (e *Event) finding() object {
	if e.Invalid {
		return object{"uid": e.UID(), "title": title(e.Type())}
	}
	info := object{"uid": e.UID(), "title": e.Header.Alert.Kind}
	set(info, "desc", e.Header.Alert.Detail)
	return info
}
