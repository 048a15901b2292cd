package operation

// SSH is what a rule can see of something that is asked of a host, as op.ssh.
type SSH struct {
	Type     SSHType
	Command  Text         // the command line or the subsystem's name, as it was sent
	Commands []SSHCommand // exec: every simple command that the line is proven to run
	Action   FileAction   // sftp: what is done to Path
	Path     string       // sftp: the path as the client wrote it; forward, listen: host and port
	NewPath  string       // sftp rename and link: the other path
	// Resources are those that a forward leads to or a listen stands in for, several
	// where the client selects one of them. None: it is no protected place.
	Resources []string
}

// SSHType sorts what is asked of a host. The words are those of RFC 4254.
type SSHType string

// The types of what is asked of a host.
const (
	SSHExec      SSHType = "exec"
	SSHShell     SSHType = "shell"
	SSHSubsystem SSHType = "subsystem"
	SSHFile      SSHType = "sftp"
	SSHForward   SSHType = "forward" // direct-tcpip: a connection that the host opens
	SSHListen    SSHType = "listen"  // tcpip-forward: a port that the host opens
)

// SSHCommand is one simple command of a command line: a program and its
// arguments after the shell's own quoting. A command whose words the shell
// would still expand is not one of these: the operation is not Parsed then.
type SSHCommand struct {
	Program string   // as it was written
	Args    []string // without the program
}

// FileAction is what an SFTP request does to a path.
type FileAction string

// The actions of SFTP requests.
const (
	FileRead    FileAction = "read"    // open for reading
	FileWrite   FileAction = "write"   // open for writing, appending or creating
	FileList    FileAction = "list"    // open a directory
	FileStat    FileAction = "stat"    // attributes, link targets, real paths
	FileSetStat FileAction = "setstat" // change attributes
	FileRemove  FileAction = "remove"
	FileRename  FileAction = "rename"
	FileMkdir   FileAction = "mkdir"
	FileRmdir   FileAction = "rmdir"
	FileLink    FileAction = "link"  // symbolic or hard
	FileOther   FileAction = "other" // an extension that is not known
)
