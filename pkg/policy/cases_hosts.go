package policy

import (
	"fmt"

	"github.com/sluicegate/sluice/pkg/operation"
)

// sshClause is what a case asks of a host.
type sshClause struct {
	Type     string     `yaml:"type"`
	Command  string     `yaml:"command"`
	Commands [][]string `yaml:"commands"` // each a program and its arguments
	Action   string     `yaml:"action"`
	Path     string     `yaml:"path"`
	NewPath  string     `yaml:"new_path"`

	Resources []string `yaml:"resources"`
}

// gitClause is what a case asks of a repository.
type gitClause struct {
	Repository string      `yaml:"repository"`
	Refs       []refClause `yaml:"refs"`
	Options    []string    `yaml:"options"`
}

// refClause is one ref that a case's push would change.
type refClause struct {
	Name   string `yaml:"name"`
	Kind   string `yaml:"kind"`
	Old    string `yaml:"old"`
	New    string `yaml:"new"`
	Forced string `yaml:"forced"` // "unknown" when it is left out
}

func (s *sshClause) validate(word func(at, value string, known []string)) {
	if s == nil {
		return
	}
	word(".op.ssh.type", s.Type, valuesOf(sshObject(), "type"))
	word(".op.ssh.action", s.Action, valuesOf(sshObject(), "action"))
}

func (g *gitClause) validate(word func(at, value string, known []string)) {
	if g == nil {
		return
	}
	for i, r := range g.Refs {
		at := fmt.Sprintf(".op.git.refs[%d]", i)
		word(at+".kind", r.Kind, valuesOf(gitRefObject(), "kind"))
		word(at+".forced", r.Forced, valuesOf(gitRefObject(), "forced"))
	}
}

func (s *sshClause) asked() *operation.SSH {
	if s == nil {
		return nil
	}
	asked := &operation.SSH{
		Type: operation.SSHType(s.Type), Command: operation.Text(s.Command),
		Action: operation.FileAction(s.Action), Path: s.Path, NewPath: s.NewPath, Resources: s.Resources,
	}
	for _, words := range s.Commands {
		if len(words) > 0 {
			asked.Commands = append(asked.Commands, operation.SSHCommand{Program: words[0], Args: words[1:]})
		}
	}
	return asked
}

func (g *gitClause) asked() *operation.Git {
	if g == nil {
		return nil
	}
	asked := &operation.Git{Repository: g.Repository, Options: g.Options}
	for _, r := range g.Refs {
		ref := operation.GitRef{Name: r.Name, Kind: operation.RefChange(r.Kind), Old: r.Old, New: r.New, Forced: operation.Certainty(r.Forced)}
		if ref.Forced == "" {
			ref.Forced = operation.Uncertain
		}
		asked.Refs = append(asked.Refs, ref)
	}
	return asked
}
