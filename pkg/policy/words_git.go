package policy

import (
	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/operation"
)

// gitScope is a scope seen as op.git.
type gitScope scope

// git returns what is asked of a repository.
func (s *gitScope) git() operation.Git {
	if s.op.Git == nil {
		return operation.Git{}
	}
	return *s.op.Git
}

// gitRef is one ref of a push as one condition sees it.
type gitRef struct {
	operation.GitRef
	scope *gitScope
}

// forced says whether the ref is forced. What nobody could find out counts as
// forced for every condition that does not name "unknown" itself.
func (r *gitRef) forced() string {
	if r.Forced == operation.CertainlyNot || r.Forced == operation.Uncertain && r.scope.namesUnknown {
		return string(r.Forced)
	}
	return string(operation.Certainly)
}

func (s *gitScope) refs() []*gitRef {
	if s.changes != nil {
		return s.changes
	}
	written := s.git().Refs
	s.changes = make([]*gitRef, len(written))
	for i := range written {
		s.changes[i] = &gitRef{written[i], s}
	}
	return s.changes
}

func gitObject() object {
	return object{gitType, []field{
		{
			name: "repository", typ: cel.StringType, doc: "its path as the client wrote it. A server may know it by others, as /srv/shop for /srv/shop.git: let in what is named, rather than keep it out",
			get: of(func(s *gitScope) any { return s.git().Repository }),
		},
		{
			name: "refs", typ: cel.ListType(gitRefType), doc: "every ref that a push would change",
			get: of(func(s *gitScope) any { return s.refs() }),
		},
		{
			name: "options", typ: stringsType, doc: "the push's options",
			get: of(func(s *gitScope) any { return s.git().Options }),
		},
	}}
}

func gitRefObject() object {
	kinds := []string{string(operation.RefCreate), string(operation.RefUpdate), string(operation.RefDelete)}
	answers := []string{string(operation.CertainlyNot), string(operation.Certainly), string(operation.Uncertain)}
	return object{gitRefType, []field{
		{
			name: "name", typ: cel.StringType, doc: "in full, as in \"refs/heads/main\"",
			get: of(func(r *gitRef) any { return r.Name }),
		},
		{
			name: "kind", typ: cel.StringType, doc: "what happens to it", values: kinds,
			get: of(func(r *gitRef) any { return string(r.Kind) }),
		},
		{
			name: "old", typ: cel.StringType, doc: "the id that it has; empty for create",
			get: of(func(r *gitRef) any { return r.Old }),
		},
		{
			name: "new", typ: cel.StringType, doc: "the id that it would get; empty for delete",
			get: of(func(r *gitRef) any { return r.New }),
		},
		{
			name: "forced", typ: cel.StringType, doc: "it would lose what it holds; in a condition that does not name \"unknown\", that reads as \"true\"", values: answers,
			get: of(func(r *gitRef) any { return r.forced() }),
		},
	}}
}
