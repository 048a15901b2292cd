package siem

import (
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// activity is an activity_id of a class and its caption, or "Other" and our
// word.
type activity struct {
	id   int
	name string
}

func other(name string) activity { return activity{99, name} }

// classify chooses the event's class and activity.
func (e *Event) classify() (class, activity) {
	h := &e.Header
	switch {
	case e.Invalid || h.Alert != nil:
		return detectionFinding, activity{1, "Create"}
	case h.Type == record.AgentPolicy:
		return appLifecycle, activity{8, "Update"}
	case h.Agent != nil:
		return appLifecycle, activity{3, "Start"}
	case h.Person != nil:
		return apiActivity, actOf(h.Person.Act)
	case h.Order != nil:
		return apiActivity, activity{1, "Create"}
	case h.Approval != nil:
		if h.Type == record.ApprovalRequested {
			return apiActivity, activity{1, "Create"}
		}
		return apiActivity, activity{3, "Update"}
	case h.Opened != nil || h.Closed != nil:
		return e.connection(h.Closed != nil)
	case h.Intent != nil || h.Outcome != nil:
		return e.operation()
	}
	return apiActivity, other(string(e.Type())) // of a newer agent
}

// actOf sorts what people do at the collector.
func actOf(act string) activity {
	switch {
	case act == "search" || act == "export" || strings.HasSuffix(act, ".read"):
		return activity{2, "Read"}
	case act == "shred":
		return activity{4, "Delete"}
	}
	return other(act)
}

// protocolClass is the class of what is spoken in a session.
func (e *Event) protocolClass() class {
	if e.Session == nil {
		return networkActivity
	}
	switch e.Session.Protocol {
	case "postgres", "mysql":
		return datastoreActivity
	case "ssh":
		return sshActivity
	case "kubernetes", "git":
		return apiActivity
	case "web", "http":
		return httpActivity
	}
	return networkActivity
}

func (e *Event) connection(closed bool) (class, activity) {
	c := e.protocolClass()
	switch {
	case c == sshActivity || c == networkActivity:
		if closed {
			return c, activity{2, "Close"}
		}
		return c, activity{1, "Open"}
	case closed:
		return c, other("Disconnect")
	case c == datastoreActivity:
		return c, activity{3, "Connect"}
	case c == httpActivity:
		return c, activity{1, "Connect"}
	}
	return c, other("Connect")
}

// operation chooses by what was asked for; by the protocol alone where that is
// not known.
func (e *Event) operation() (class, activity) {
	if e.Intent == nil {
		return e.protocolClass(), other("Operation")
	}
	switch {
	case e.Intent.Kube != nil:
		return apiActivity, kubeActivity(e.Intent.Kube)
	case e.Intent.HTTP != nil:
		return httpActivity, httpMethod(e.Intent.HTTP)
	}
	switch kind := operation.Kind(e.Intent.Kind); kind {
	case operation.Connect:
		return e.connection(false)
	case operation.Statement:
		return datastoreActivity, statementActivity(e.Intent.Statements)
	case operation.CopyIn:
		return datastoreActivity, activity{5, "Write"}
	case operation.Replication:
		return datastoreActivity, activity{1, "Read"}
	case operation.Call, operation.Cancel:
		return datastoreActivity, other(e.Intent.Kind)
	case operation.Exec, operation.Shell, operation.Subsystem, operation.File, operation.Forward:
		return sshActivity, other(e.Intent.Kind)
	case operation.Fetch:
		return apiActivity, activity{2, "Read"}
	case operation.Push:
		return apiActivity, pushActivity(e.Intent.Git)
	}
	return e.protocolClass(), other(e.Intent.Kind)
}

// statementActivity is that of the first statement that does more than read.
func statementActivity(statements []record.Statement) activity {
	for _, s := range statements {
		if a := statementWord(s); a.name != "Query" {
			return a
		}
	}
	if len(statements) == 0 {
		return other("statement")
	}
	return activity{4, "Query"}
}

func statementWord(s record.Statement) activity {
	verb, _, _ := strings.Cut(s.Kind, " ")
	switch {
	case s.Class == string(operation.Read):
		return activity{4, "Query"}
	case verb == "CREATE":
		return activity{6, "Create"}
	case verb == "DELETE" || verb == "DROP" || verb == "TRUNCATE":
		return activity{7, "Delete"}
	case verb == "UPDATE" || verb == "ALTER":
		return activity{2, "Update"}
	case s.Class == string(operation.Write):
		return activity{5, "Write"}
	}
	return other(s.Class)
}

// pushActivity is what a push does to all of its refs, Update when it differs.
func pushActivity(git *record.Git) activity {
	all := func(kind operation.RefChange) bool {
		return git != nil && len(git.Refs) > 0 && !slices.ContainsFunc(git.Refs, func(r record.GitRef) bool { return r.Kind != string(kind) })
	}
	switch {
	case all(operation.RefCreate):
		return activity{1, "Create"}
	case all(operation.RefDelete):
		return activity{4, "Delete"}
	}
	return activity{3, "Update"}
}
