package operation

// Git is what a rule can see of something that is asked of a repository, as
// op.git.
type Git struct {
	Repository string   // the path as the client wrote it
	Refs       []GitRef // of a push, every ref that it would change
	Options    []string // of a push, its push options
}

// GitRef is one ref that a push would change. An id is in hexadecimal; it is
// empty where there is none.
type GitRef struct {
	Name     string // in full, as in refs/heads/main
	Kind     RefChange
	Old, New string
	Forced   Certainty // the ref would no longer contain what it held before
	Lost     []string  // ids of commits that the ref would lose, newest first; not always all
}

// RefChange is what happens to a ref.
type RefChange string

// The changes of a ref.
const (
	RefCreate RefChange = "create"
	RefUpdate RefChange = "update"
	RefDelete RefChange = "delete"
)

// Certainty is the answer to a question that cannot always be answered.
type Certainty string

// The answers.
const (
	CertainlyNot Certainty = "false"
	Certainly    Certainty = "true"
	Uncertain    Certainty = "unknown"
)
