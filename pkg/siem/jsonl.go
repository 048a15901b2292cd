package siem

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/session"
)

// attributes are an event's flat fields. Names are those of OpenTelemetry's
// semantic conventions 1.38 where there is one, else they begin with "sluice.".
// What is absent is not there; nothing is empty.
type attributes map[string]any

// The names of what a peer wrote; encoded ends them where it is base64.
const (
	queryText = "db.query.text"
	chunkData = "sluice.chunk.data"
	encoded   = "_base64"
)

// text sets a text unless it is empty.
func (a attributes) text(name, value string) {
	if value != "" {
		a[name] = value
	}
}

// number sets a number unless it is 0.
func (a attributes) number(name string, value int64) {
	if value != 0 {
		a[name] = value
	}
}

// flag sets what is so.
func (a attributes) flag(name string, value bool) {
	if value {
		a[name] = true
	}
}

// list sets a list unless it is empty.
func (a attributes) list(name string, values []string) {
	if len(values) == 0 {
		return
	}
	list := make([]any, len(values))
	for i, v := range values {
		list[i] = v
	}
	a[name] = list
}

// object sets a structure in the form of its JSON.
func (a attributes) object(name string, value any) {
	encoded, err := json.Marshal(value)
	if err != nil {
		panic(err) // only for types that JSON does not know
	}
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.UseNumber()
	var plain any
	if err := decoder.Decode(&plain); err != nil {
		panic(err) // json.Marshal wrote it
	}
	a[name] = plain
}

// line is the event as one JSON object.
func (e *Event) line() map[string]any {
	a := e.attributes()
	if !e.Invalid {
		a["time"] = e.Header.Time.UTC().Format(time.RFC3339Nano)
	}
	a["event.name"] = "sluice." + string(e.Type())
	a["sluice.record.uid"] = e.UID()
	a.text("sluice.cluster", e.Cluster)
	return a
}

// attributes are what the record says, and the session's part of it.
func (e *Event) attributes() attributes {
	a := attributes{}
	h := &e.Header
	a["sluice.node"] = e.Agent
	a["sluice.log.index"] = e.Index
	a.text("sluice.session.id", h.Session)
	a.number("sluice.operation.id", int64(h.Operation))
	a.number("sluice.operation.parent", int64(h.Parent))
	if e.Session != nil {
		a.session(e.Session)
	}
	a.rare(h)
	if e.Intent != nil {
		a.operation(e.Intent)
	}
	if h.Intent != nil {
		a.decision(h.Intent)
	}
	if h.Chunk != nil {
		a.chunk(h.Chunk)
	}
	if h.Outcome != nil {
		a.outcome(h.Outcome, e.isHTTP())
	}
	a.body(e)
	return a
}

func (a attributes) session(s *session.Session) {
	w := &s.Workload
	a.text("sluice.resource", s.Resource)
	a.text("sluice.protocol", s.Protocol)
	if s.Parent != nil {
		a.text("sluice.session.parent.id", s.Parent.Session)
		a.number("sluice.session.parent.operation", int64(s.Parent.Operation))
	}
	if s.Destination.IsValid() {
		a["server.address"] = s.Destination.Addr().String()
		a["server.port"] = int64(s.Destination.Port())
	}
	a.text("db.system.name", systemOf(s.Protocol))
	a["sluice.assurance"] = w.Assurance.String()
	a.number("process.pid", int64(w.Kernel.PID))
	a.text("process.executable.path", w.Kernel.Exe)
	a.text("container.id", w.Kernel.Container)
	a.text("container.name", w.Orch.Name)
	a.text("container.image.name", w.Orch.Image)
	a.text("k8s.pod.uid", w.Orch.Pod)
	a.text("k8s.pod.name", w.Orch.PodName)
	a.text("k8s.namespace.name", w.Orch.Namespace)
	a.text("vcs.repository.name", w.Repository())
	run := w.Run()
	a.text("cicd.pipeline.run.id", run.ID)
	a.flag("sluice.run.verified", run.Verified)
	a.text("sluice.agent.kind", string(w.Agent.Kind))
	a.text("sluice.agent.product", w.Agent.Product)
}

// systemOf is OpenTelemetry's word for a protocol's database.
func systemOf(protocol string) string {
	switch protocol {
	case "postgres":
		return "postgresql"
	case "mysql":
		return protocol
	}
	return ""
}

func (a attributes) operation(in *record.Intent) {
	a["sluice.operation.kind"] = in.Kind
	a.text("db.namespace", in.Database)
	a.text("sluice.db.role", in.Role)
	var kinds, classes, relations []string
	for _, s := range in.Statements {
		kinds, classes, relations = append(kinds, s.Kind), append(classes, s.Class), append(relations, s.Relations...)
	}
	a.text("db.operation.name", strings.Join(kinds, "; "))
	a.list("sluice.sql.classes", classes)
	if len(relations) == 1 {
		a["db.collection.name"] = relations[0]
	}
	a.list("sluice.sql.relations", relations)
	if in.SSH != nil {
		a.object("sluice.ssh", in.SSH)
	}
	if in.Git != nil {
		a.object("sluice.git", in.Git)
	}
	a.http(in)
}

func (a attributes) decision(in *record.Intent) {
	a["sluice.operation.parsed"] = in.Parsed
	a["sluice.operation.read_only"] = in.ReadOnly
	a["sluice.decision.effect"] = in.Effect
	a.text("sluice.decision.rule", in.Rule)
	a.text("sluice.decision.reason", in.Reason)
	a.text("sluice.decision.policy", in.Policy)
	a.text("sluice.decision.decider", in.Decider)
	a.number("sluice.approval.number", int64(in.Approval))
	a.flag("sluice.decision.observed", in.Observed)
}

func (a attributes) chunk(c *record.Chunk) {
	a["sluice.chunk.stream"] = c.Stream
	a["sluice.chunk.at_ns"] = c.At
	a["sluice.chunk.size"] = c.Size
	a.text("sluice.chunk.digest", c.Digest)
}

func (a attributes) outcome(o *record.Outcome, http bool) {
	a["sluice.outcome.status"] = o.Status
	if code, err := strconv.Atoi(o.Code); http && err == nil {
		a["http.response.status_code"] = int64(code)
	} else {
		a.text("db.response.status_code", o.Code)
	}
	if o.Status != "ok" {
		a["error.type"] = o.Status
		a.text("error.type", o.Code)
	}
	a.text("sluice.outcome.tag", o.Tag)
	a.text("sluice.outcome.rule", o.Rule)
	a.number("db.response.returned_rows", o.Rows)
	a.number("sluice.outcome.masked", o.Masked)
	a["sluice.outcome.duration_ns"] = o.Duration
	a.number("sluice.outcome.response_bytes", o.Response)
	a.text("sluice.outcome.response_digest", o.Digest)
	if o.Chunk != nil {
		a.chunk(o.Chunk)
	}
}

// rare sets what is written once per session or less.
func (a attributes) rare(h *record.Header) {
	if h.Opened != nil {
		a.object("sluice.workload", h.Opened.Workload)
	}
	if h.Closed != nil {
		a.object("sluice.closed", h.Closed)
	}
	if h.Agent != nil {
		a.object("sluice.agent", h.Agent)
	}
	if h.Alert != nil {
		a.object("sluice.alert", h.Alert)
	}
	if h.Order != nil {
		a.object("sluice.order", h.Order)
	}
	if h.Approval != nil {
		a.object("sluice.approval", h.Approval)
	}
	if h.Person != nil {
		a.object("sluice.person", h.Person)
	}
}

// body sets what a peer wrote, or why it is not there.
func (a attributes) body(e *Event) {
	a.flag("sluice.body.destroyed", e.Destroyed)
	a.flag("sluice.body.hidden", e.Hidden)
	a.flag("sluice.body.continues", e.Body.More)
	name := "sluice.text"
	switch {
	case e.Header.Chunk != nil || e.Header.Outcome != nil:
		name = chunkData
	case e.Intent != nil && len(e.Intent.Statements) > 0 || systemOfEvent(e) != "":
		name = queryText
	}
	switch {
	case e.Body.Text != "":
		a[name] = e.Body.Text
	case utf8.Valid(e.Body.Bytes):
		a.text(name, string(e.Body.Bytes))
	default:
		a.object(name+encoded, e.Body.Bytes)
	}
	for i := range e.Body.Params {
		a.param("db.query.parameter."+strconv.Itoa(i), &e.Body.Params[i])
	}
	if len(e.Body.Extra) > 0 {
		a.object("sluice.signed", e.Body.Extra)
	}
}

func systemOfEvent(e *Event) string {
	if e.Session == nil || e.Header.Intent == nil {
		return ""
	}
	return systemOf(e.Session.Protocol)
}

// param sets a bound value. Its place counts from 0, as OpenTelemetry's do.
func (a attributes) param(name string, p *record.Param) {
	switch {
	case p.Sealed != "":
		a[name] = "[sealed " + p.Sealed + " " + strconv.Itoa(p.Length) + " bytes]"
	case p.Text != nil:
		a[name] = *p.Text
	case p.Null:
		a[name] = nil
	case p.Bytes == nil && p.Length > 0:
		a[name] = "[" + strconv.Itoa(p.Length) + " bytes in chunks]"
	default:
		a.object(name+encoded, p.Bytes)
	}
}
