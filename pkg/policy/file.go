package policy

// file is a policy file as it is written. docs/policy.md explains each key.
type file struct {
	Version   int              `yaml:"version"`
	Resources []resourceClause `yaml:"resources"`
	Masks     []maskClause     `yaml:"masks"`
	Rules     []ruleClause     `yaml:"rules"`
	Default   string           `yaml:"default"`
}

// resourceClause is one protected thing.
type resourceClause struct {
	Name        string             `yaml:"name"`
	Protocol    string             `yaml:"protocol"`
	Hosts       []string           `yaml:"hosts"`
	Port        uint16             `yaml:"port"`
	Select      *selectClause      `yaml:"select"`
	Mode        string             `yaml:"mode"`
	Credentials []credentialClause `yaml:"credentials"`
	ServerTLS   *serverTLSClause   `yaml:"server_tls"`
	ServerSSH   *serverSSHClause   `yaml:"server_ssh"`
}

// selectClause says which sessions are a resource's.
type selectClause struct {
	ServerNames []string `yaml:"server_names"`
	Databases   []string `yaml:"databases"`
	Users       []string `yaml:"users"`
}

// credentialClause is one way in which the agent logs in.
type credentialClause struct {
	When         string `yaml:"when"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"`
	KeyFile      string `yaml:"key_file"`
	CertFile     string `yaml:"cert_file"`
	CAKeyFile    string `yaml:"ca_key_file"`
	TokenFile    string `yaml:"token_file"`
	Header       string `yaml:"header"`
}

// serverTLSClause says how the agent checks the server.
type serverTLSClause struct {
	Mode   string `yaml:"mode"`
	CAFile string `yaml:"ca_file"`
}

// serverSSHClause says how the agent knows an SSH server.
type serverSSHClause struct {
	KnownHostsFile string `yaml:"known_hosts_file"`
}

// maskClause hides values.
type maskClause struct {
	Name      string   `yaml:"name"`
	Resources []string `yaml:"resources"`
	Columns   []string `yaml:"columns"`
	JSONPaths []string `yaml:"json_paths"`
	Kinds     []string `yaml:"kinds"`
	Detect    []string `yaml:"detect"`
	Method    verbatim `yaml:"method"`
}

// ruleClause decides operations.
type ruleClause struct {
	Name      string         `yaml:"name"`
	Resources []string       `yaml:"resources"`
	When      string         `yaml:"when"`
	Effect    string         `yaml:"effect"`
	Approve   *approveClause `yaml:"approve"`
	Reason    string         `yaml:"reason"`
	OverRows  *int64         `yaml:"over_rows"`
}

// approveClause says who can release a held operation.
type approveClause struct {
	Groups  []string `yaml:"groups"`
	Votes   *int     `yaml:"votes"`
	Timeout string   `yaml:"timeout"`
	Scope   string   `yaml:"scope"`
	Trigger string   `yaml:"trigger"`
	Key     string   `yaml:"key"`
}

// verbatim is a word for which YAML's null is the four letters.
type verbatim string

// UnmarshalText keeps the letters.
func (v *verbatim) UnmarshalText(text []byte) error {
	*v = verbatim(text)
	return nil
}
