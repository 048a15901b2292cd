package policy

import (
	"path"

	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/operation"
)

// nothingAsked is op.ssh of what is not asked of a host.
var nothingAsked operation.SSH

// ssh returns what is asked of a host.
func (s *scope) ssh() *operation.SSH {
	if s.op.SSH == nil {
		return &nothingAsked
	}
	return s.op.SSH
}

func sshObject() object {
	types := []string{
		string(operation.SSHExec), string(operation.SSHShell), string(operation.SSHSubsystem), string(operation.SSHFile),
		string(operation.SSHForward), string(operation.SSHListen),
	}
	actions := []string{
		string(operation.FileRead), string(operation.FileWrite), string(operation.FileList), string(operation.FileStat),
		string(operation.FileSetStat), string(operation.FileRemove), string(operation.FileRename), string(operation.FileMkdir),
		string(operation.FileRmdir), string(operation.FileLink), string(operation.FileOther),
	}
	return object{sshType, []field{
		{
			name: "type", typ: cel.StringType, doc: "what sort of thing is asked of the host", values: types,
			get: of(func(s *operation.SSH) any { return string(s.Type) }),
		},
		{
			name: "command", typ: cel.StringType, doc: "command line or subsystem as it was sent; the shell may read it otherwise: prefer programs",
			get: of(func(s *operation.SSH) any { return string(s.Command.Reveal()) }),
		},
		{
			name: "programs", typ: stringsType, doc: "every program that the command line runs, without its directory",
			get: of(func(s *operation.SSH) any { return programs(s) }),
		},
		{
			name: "commands", typ: cel.ListType(commandType), doc: "every simple command of the command line",
			get: of(func(s *operation.SSH) any { return s.Commands }),
		},
		{
			name: "action", typ: cel.StringType, doc: "what an SFTP request does", values: actions,
			get: of(func(s *operation.SSH) any { return string(s.Action) }),
		},
		{
			name: "path", typ: cel.StringType, doc: "of an SFTP request, as it was sent; of a forward or listen, host:port",
			get: of(func(s *operation.SSH) any { return s.Path }),
		},
		{
			name: "new_path", typ: cel.StringType, doc: "of an SFTP rename or link, the other path",
			get: of(func(s *operation.SSH) any { return s.NewPath }),
		},
		{
			name: "resources", typ: stringsType, doc: "of a forward or listen, the protected resources that it leads to or stands in for; empty for any other place",
			get: of(func(s *operation.SSH) any { return s.Resources }),
		},
	}}
}

func programs(s *operation.SSH) []string {
	names := make([]string, len(s.Commands))
	for i, c := range s.Commands {
		names[i] = path.Base(c.Program)
	}
	return names
}

func commandObject() object {
	return object{commandType, []field{
		{
			name: "program", typ: cel.StringType, doc: "without its directory",
			get: of(func(c *operation.SSHCommand) any { return path.Base(c.Program) }),
		},
		{
			name: "path", typ: cel.StringType, doc: "the program as it was written",
			get: of(func(c *operation.SSHCommand) any { return c.Program }),
		},
		{
			name: "args", typ: stringsType, doc: "its arguments, after the shell's own quoting",
			get: of(func(c *operation.SSHCommand) any { return c.Args }),
		},
	}}
}
