package policy

import "github.com/sluicegate/sluice/pkg/operation"

// detail is a set of those fields of op that only some protocols fill.
type detail uint8

const (
	sqlDetail detail = 1 << iota
	sshDetail
	gitDetail
	httpDetail
	kubeDetail

	anyDetail detail = 1<<iota - 1
)

// detailNamed returns the detail of one field of op; none for other fields.
func detailNamed(name string) detail {
	switch name {
	case "sql":
		return sqlDetail
	case "ssh":
		return sshDetail
	case "git":
		return gitDetail
	case "http":
		return httpDetail
	case "kube":
		return kubeDetail
	}
	return 0
}

// detailsOf returns which details an operation has.
func detailsOf(op *operation.Operation) (has detail) {
	if op.SQL != nil {
		has |= sqlDetail
	}
	if op.SSH != nil {
		has |= sshDetail
	}
	if op.Git != nil {
		has |= gitDetail
	}
	if op.HTTP != nil {
		has |= httpDetail
	}
	if op.Kube != nil {
		has |= kubeDetail
	}
	return has
}

// blind reports whether a rule reads what would have been understood of an
// operation that was not.
func (r *resource) blind(op *operation.Operation) bool {
	missing := detailsOf(op)
	if missing == 0 {
		missing = anyDetail
	}
	return r.readsReadOnly || r.reads&missing != 0
}

// hides reports whether a mask hides what nobody can find in the answer to an
// operation that was not understood. Detectors look at the bytes of a host's
// streams and of answers over HTTP, whatever was asked, and masks of kinds at
// what a cluster's objects say that they are.
func (r *resource) hides(op *operation.Operation) bool {
	bytesOnly := detailsOf(op)&(sshDetail|gitDetail|kubeDetail|httpDetail) != 0 && len(r.masks.Columns)+len(r.masks.Paths) == 0
	return !r.masks.Empty() && !bytesOnly
}
