package view

import (
	"encoding/json"

	"github.com/sluicegate/sluice/pkg/workload"
)

// Who reads the facts about a session's workload. What cannot be read is
// absent.
func (s *Session) Who() workload.Workload {
	var w workload.Workload
	_ = w.Assurance.UnmarshalText([]byte(s.Assurance)) // never fails
	for _, part := range []struct {
		raw  json.RawMessage
		into any
	}{{s.Kernel, &w.Kernel}, {s.Orch, &w.Orch}, {s.Verified, &w.Verified}, {s.Claimed, &w.Claimed}, {s.Agent, &w.Agent}} {
		_ = json.Unmarshal(part.raw, part.into)
	}
	return w
}

// Name names a session's workload in a word, the best attested first: a
// container, else a program.
func Name(w *workload.Workload) string {
	switch {
	case w.Orch.FullName() != "":
		return w.Orch.FullName()
	case w.Kernel.Container != "":
		return OneLine(w.Kernel.Container, 13)
	}
	return w.Kernel.Exe
}
