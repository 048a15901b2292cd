package siem

import (
	"path"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/record"
)

// ocsfVersion is the version of the schema that events follow (schema.ocsf.io).
const ocsfVersion = "1.8.0"

// object is an object of OCSF.
type object = map[string]any

// class is a class of OCSF.
type class struct {
	category     int
	uid          int
	name         string
	categoryName string
}

var (
	datastoreActivity = class{6, 6005, "Datastore Activity", "Application Activity"}
	apiActivity       = class{6, 6003, "API Activity", "Application Activity"}
	appLifecycle      = class{6, 6002, "Application Lifecycle", "Application Activity"}
	networkActivity   = class{4, 4001, "Network Activity", "Network Activity"}
	httpActivity      = class{4, 4002, "HTTP Activity", "Network Activity"}
	sshActivity       = class{4, 4007, "SSH Activity", "Network Activity"}
	detectionFinding  = class{2, 2004, "Detection Finding", "Findings"}
)

// OCSF returns the event as one of OCSF's, nil for chunks. Its values are
// those of JSON: objects, lists, strings, numbers, booleans. Whatever the
// record says beyond the schema's words is in unmapped. Answers are in no event
// of OCSF's: those are for whoever reads the evidence.
func (e *Event) OCSF() map[string]any {
	if e.Header.Chunk != nil {
		return nil
	}
	c, a := e.classify()
	j := e.judge()
	o := object{
		"class_uid": c.uid, "class_name": c.name, "category_uid": c.category, "category_name": c.categoryName,
		"activity_id": a.id, "activity_name": a.name, "type_uid": c.uid*100 + a.id, "type_name": c.name + ": " + a.name,
		"time": e.millis(), "metadata": e.metadata(), "message": e.message(), "unmapped": e.unmapped(),
		"severity_id": int(j.severity), "severity": j.severity.String(),
		"status_id": int(j.status), "status": j.status.String(),
		"action_id": int(j.action), "action": j.action.String(),
		"is_alert": j.alert,
	}
	if j.disposition != noDisposition {
		o["disposition_id"], o["disposition"] = int(j.disposition), j.disposition.String()
	}
	set(o, "status_code", j.code)
	set(o, "status_detail", j.detail)
	if rule, hash := e.rule(); rule != "" {
		policy := object{"name": rule, "is_applied": !e.onlyObserved()}
		set(policy, "uid", hash)
		o["policy"] = policy
	}
	if e.Header.Outcome != nil {
		o["duration"] = e.Header.Outcome.Duration / 1e6
	}
	e.endpoints(o, c)
	e.asked(o, c)
	return o
}

// unmapped is what the record says, without the answer, and without the text
// where query_info has it.
func (e *Event) unmapped() object {
	a := e.attributes()
	delete(a, chunkData)
	delete(a, chunkData+encoded)
	if c, _ := e.classify(); c == datastoreActivity {
		delete(a, queryText)
	}
	return object(a)
}

// millis is the record's time in ms since 1970; 0 for an invalid record.
func (e *Event) millis() int64 {
	if e.Invalid {
		return 0
	}
	return e.Header.Time.UnixMilli()
}

func set(o object, name, value string) {
	if value != "" {
		o[name] = value
	}
}

func (e *Event) metadata() object {
	m := object{
		"version": ocsfVersion, "profiles": []any{"security_control"},
		"product": object{"name": "Sluice", "vendor_name": "Sluicegate"},
		"uid":     e.UID(), "sequence": e.No, "log_name": e.Agent, "log_version": record.Schema, "event_code": string(e.Type()),
	}
	set(m, "tenant_uid", e.Cluster)
	if h := &e.Header; h.Session != "" {
		m["correlation_uid"] = h.Session
		if h.Operation > 0 {
			m["correlation_uid"] = h.Session + "/" + strconv.FormatUint(h.Operation, 10)
		}
	}
	if e.Body.More {
		m["is_truncated"] = true // chunks hold the rest
	}
	return m
}

// message says the record in a few words that no job wrote.
func (e *Event) message() string {
	words := []string{title(e.Type())}
	if in := e.Intent; in != nil {
		words = append(words, in.Kind)
	}
	if e.Session != nil {
		words = append(words, "on", e.Session.Resource)
	}
	if e.Header.Intent != nil {
		words = append(words, "—", e.Header.Intent.Effect)
	}
	if rule, _ := e.rule(); rule != "" {
		words = append(words, "by", rule)
	}
	return strings.Join(words, " ")
}

// rule is the rule that decided and the hash of its policy.
func (e *Event) rule() (name, hash string) {
	switch h := &e.Header; {
	case h.Intent != nil:
		return h.Intent.Rule, h.Intent.Policy
	case h.Outcome != nil:
		return h.Outcome.Rule, ""
	case h.Approval != nil:
		return h.Approval.Rule, ""
	}
	return "", ""
}

func (e *Event) onlyObserved() bool { return e.Header.Intent != nil && e.Header.Intent.Observed }

// endpoints sets who asked and what was reached.
func (e *Event) endpoints(o object, c class) {
	if c == appLifecycle || c == detectionFinding {
		return
	}
	source := e.source()
	o["src_endpoint"] = source
	if s := e.Session; s != nil {
		server := object{"svc_name": s.Resource}
		if s.Destination.IsValid() {
			server["ip"], server["port"] = s.Destination.Addr().String(), int(s.Destination.Port())
		}
		o["dst_endpoint"] = server
	}
	if c == datastoreActivity || c == apiActivity {
		o["actor"] = e.actor()
	}
}

// source is the workload, the person's address, or else the agent.
func (e *Event) source() object {
	if p := e.Header.Person; p != nil && p.From != "" {
		return object{"ip": p.From}
	}
	if e.Session == nil {
		return object{"name": e.Agent}
	}
	k, orch := &e.Session.Workload.Kernel, &e.Session.Workload.Orch
	source := object{"uid": "cgroup:" + strconv.FormatUint(k.CgroupID, 10)}
	set(source, "uid", k.Container)
	set(source, "name", orch.FullName())
	return source
}

// actor is who asked: a person, or the workload by what is best known of it.
func (e *Event) actor() object {
	if user := e.person(); user != nil {
		return object{"user": user}
	}
	if e.Session == nil {
		return object{"app_name": e.Agent}
	}
	w := &e.Session.Workload
	actor := object{"app_name": "cgroup:" + strconv.FormatUint(w.Kernel.CgroupID, 10)}
	for _, name := range []string{w.Kernel.Exe, w.Orch.Name, w.Repository()} {
		set(actor, "app_name", name)
	}
	set(actor, "app_uid", w.Kernel.Container)
	if w.Kernel.PID > 0 {
		process := object{"pid": w.Kernel.PID}
		if w.Kernel.Exe != "" {
			process["name"], process["path"] = path.Base(w.Kernel.Exe), w.Kernel.Exe
		}
		actor["process"] = process
	}
	return actor
}

// person is who voted, ordered or used the collector; nil for none.
func (e *Event) person() object {
	switch h := &e.Header; {
	case h.Person != nil:
		user := object{"name": h.Person.Name}
		set(user, "uid", h.Person.Subject)
		set(user, "domain", h.Person.Issuer)
		return user
	case h.Order != nil:
		return object{"name": h.Order.By}
	case h.Approval != nil && h.Approval.Approver != "":
		return object{"name": h.Approval.Approver}
	}
	return nil
}
