package record

import (
	"path"

	"github.com/sluicegate/sluice/pkg/operation"
)

// StatementsOf returns what is recorded of SQL.
func StatementsOf(sql *operation.SQL) []Statement {
	if sql == nil {
		return nil
	}
	recorded := make([]Statement, len(sql.Statements))
	for i, s := range sql.Statements {
		recorded[i] = Statement{Kind: s.Kind, Class: string(s.Class), Relations: s.Relations}
	}
	return recorded
}

// SSHOf returns what is recorded of something asked of a host.
func SSHOf(ssh *operation.SSH) *SSH {
	if ssh == nil {
		return nil
	}
	recorded := &SSH{Type: string(ssh.Type), Action: string(ssh.Action), Path: ssh.Path, NewPath: ssh.NewPath, Resources: ssh.Resources}
	for _, c := range ssh.Commands {
		recorded.Programs = append(recorded.Programs, path.Base(c.Program))
	}
	return recorded
}

// GitOf returns what is recorded of something asked of a repository.
func GitOf(git *operation.Git) *Git {
	if git == nil {
		return nil
	}
	recorded := &Git{Repository: git.Repository, Options: git.Options}
	for _, r := range git.Refs {
		recorded.Refs = append(recorded.Refs, GitRef{
			Name: r.Name, Kind: string(r.Kind), Old: r.Old, New: r.New, Forced: string(r.Forced), Lost: r.Lost,
		})
	}
	return recorded
}

// Operation returns what was asked of a host, as far as the record tells: a
// program's arguments stand in the command line alone.
func (s *SSH) Operation(command operation.Text) *operation.SSH {
	if s == nil {
		return nil
	}
	asked := &operation.SSH{
		Type: operation.SSHType(s.Type), Command: command, Action: operation.FileAction(s.Action), Path: s.Path, NewPath: s.NewPath,
		Resources: s.Resources,
	}
	for _, program := range s.Programs {
		asked.Commands = append(asked.Commands, operation.SSHCommand{Program: program})
	}
	return asked
}

// Operation returns what was asked of a repository.
func (g *Git) Operation() *operation.Git {
	if g == nil {
		return nil
	}
	asked := &operation.Git{Repository: g.Repository, Options: g.Options}
	for _, r := range g.Refs {
		asked.Refs = append(asked.Refs, operation.GitRef{
			Name: r.Name, Kind: operation.RefChange(r.Kind), Old: r.Old, New: r.New, Forced: operation.Certainty(r.Forced), Lost: r.Lost,
		})
	}
	return asked
}
