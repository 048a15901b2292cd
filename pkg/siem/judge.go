package siem

import (
	"strings"

	"github.com/sluicegate/sluice/pkg/record"
)

// severity is OCSF's severity_id.
type severity int

const (
	informational severity = 1
	low           severity = 2
	medium        severity = 3
	high          severity = 4
)

func (s severity) String() string {
	return [...]string{informational: "Informational", low: "Low", medium: "Medium", high: "High"}[s]
}

// status is OCSF's status_id.
type status int

const (
	unsettled status = 0
	success   status = 1
	failure   status = 2
)

func (s status) String() string { return [...]string{"Unknown", "Success", "Failure"}[s] }

// action is OCSF's action_id, disposition its disposition_id, of the profile
// security_control.
type (
	action      int
	disposition int
)

const (
	unknownAction action = 0
	allowed       action = 1
	denied        action = 2
	observed      action = 3
	modified      action = 4
)

func (a action) String() string {
	return [...]string{"Unknown", "Allowed", "Denied", "Observed", "Modified"}[a]
}

const (
	noDisposition disposition = 0
	passed        disposition = 1
	blocked       disposition = 2
	approved      disposition = 8
	corrected     disposition = 11
	delayed       disposition = 14
	detected      disposition = 15
	logged        disposition = 17
	rejected      disposition = 25
)

var dispositions = map[disposition]string{
	passed: "Allowed", blocked: "Blocked", approved: "Approved", corrected: "Corrected",
	delayed: "Delayed", detected: "Detected", logged: "Logged", rejected: "Rejected",
}

func (d disposition) String() string { return dispositions[d] }

// judgement is how grave a record is and what Sluice did about it.
type judgement struct {
	severity    severity
	status      status
	code        string // of the server
	detail      string // why, in words
	action      action
	disposition disposition
	alert       bool // somebody should look
}

// judge weighs a record: what was denied is Medium and an alert; what was held,
// masked or only observed is Low; what interception stopped and a broken glass
// are High and an alert.
func (e *Event) judge() judgement {
	h := &e.Header
	switch {
	case e.Invalid:
		return judgement{severity: high, status: failure, detail: "the record is signed and makes no sense", disposition: logged, action: observed, alert: true}
	case h.Intent != nil:
		return judgeIntent(h.Intent)
	case h.Outcome != nil:
		return judgeOutcome(h.Outcome, e.Intent)
	case h.Approval != nil:
		return judgeApproval(h.Approval)
	case h.Closed != nil:
		return judgeClosed(h.Closed)
	case h.Alert != nil:
		return judgement{severity: high, status: unsettled, detail: h.Alert.Detail, action: observed, disposition: detected, alert: true}
	case h.Order != nil:
		return judgement{severity: medium, status: success, detail: h.Order.Reason, action: unknownAction, disposition: logged}
	}
	return judgement{severity: informational, status: success, action: allowed, disposition: passed}
}

func judgeIntent(in *record.Intent) judgement {
	j := judgement{severity: informational, detail: in.Reason, action: allowed, disposition: passed}
	switch {
	case in.Observed && in.Effect != "allow":
		j.severity, j.action, j.disposition = low, observed, detected
	case in.Effect != "allow":
		j.severity, j.status, j.action, j.disposition, j.alert = medium, failure, denied, blocked, true
	case in.Approval != 0:
		j.severity, j.disposition = low, approved
	}
	return j
}

func judgeOutcome(o *record.Outcome, in *record.Intent) judgement {
	j := judgement{severity: informational, status: success, code: o.Code, action: allowed, disposition: passed}
	if o.Status != "ok" {
		j.status, j.detail = failure, o.Status
	}
	switch {
	case o.Status == "refused":
		j.severity, j.action, j.disposition = medium, denied, blocked
		j.alert = in == nil || in.Effect == "allow" // else the intent is the alert
	case o.Masked > 0:
		j.severity, j.action, j.disposition = low, modified, corrected
	}
	return j
}

func judgeApproval(a *record.Approval) judgement {
	j := judgement{severity: low, detail: a.Reason}
	switch a.State {
	case "pending":
		j.disposition = delayed
	case "approved", record.Preapproved:
		j.status, j.action, j.disposition = success, allowed, approved
	case record.BrokenGlass:
		j.severity, j.status, j.action, j.disposition, j.alert = high, success, allowed, approved, true
	case "denied":
		j.severity, j.status, j.action, j.disposition = medium, success, denied, rejected
	default: // expired, withdrawn, abandoned
		j.status, j.action, j.disposition = failure, denied, blocked
	}
	return j
}

func judgeClosed(c *record.Closed) judgement {
	j := judgement{severity: informational, status: success, detail: c.Reason, action: allowed, disposition: passed}
	if strings.HasPrefix(c.Reason, "violation") {
		j.severity, j.status, j.action, j.disposition, j.alert = medium, failure, denied, blocked, true
	}
	return j
}
