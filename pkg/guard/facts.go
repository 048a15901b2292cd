package guard

import (
	"path"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/record"
)

// statements returns what is recorded of SQL.
func statements(sql *operation.SQL) []record.Statement {
	if sql == nil {
		return nil
	}
	recorded := make([]record.Statement, len(sql.Statements))
	for i, s := range sql.Statements {
		recorded[i] = record.Statement{Kind: s.Kind, Class: string(s.Class), Relations: s.Relations}
	}
	return recorded
}

// host returns what is recorded of something asked of a host.
func host(ssh *operation.SSH) *record.SSH {
	if ssh == nil {
		return nil
	}
	recorded := &record.SSH{Type: string(ssh.Type), Action: string(ssh.Action), Path: ssh.Path, NewPath: ssh.NewPath}
	for _, c := range ssh.Commands {
		recorded.Programs = append(recorded.Programs, path.Base(c.Program))
	}
	return recorded
}

// repository returns what is recorded of something asked of a repository.
func repository(git *operation.Git) *record.Git {
	if git == nil {
		return nil
	}
	recorded := &record.Git{Repository: git.Repository, Options: git.Options}
	for _, r := range git.Refs {
		recorded.Refs = append(recorded.Refs, record.GitRef{
			Name: r.Name, Kind: string(r.Kind), Old: r.Old, New: r.New, Forced: string(r.Forced), Lost: r.Lost,
		})
	}
	return recorded
}
