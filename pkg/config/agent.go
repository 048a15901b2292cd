package config

import "time"

// Agent configures sluice-agent.
type Agent struct {
	// Name is what records and subjects call this agent. It must be unique in
	// the cluster and stay the same across restarts: letters, digits, - and _.
	Name string `yaml:"name"`

	// Cluster groups the agents that share a collector's stream: letters,
	// digits, - and _. Default: main.
	Cluster string `yaml:"cluster"`

	// Policy is the policy file: resources, rules and masks. See
	// docs/policy.md.
	Policy Path `yaml:"policy"`

	// StateDir keeps what must survive a restart, in a directory spool that
	// belongs to the proxy's user. Only root may write to StateDir itself, and no
	// job may see it. Default: /var/lib/sluice-agent.
	StateDir Path `yaml:"state_dir"`

	// SigningKeyFile holds the private key that signs records and approval
	// requests: the signing.key that `sluice-collector enrol` writes. Only its
	// owner may read it.
	SigningKeyFile Path `yaml:"signing_key_file"`

	// ConsoleURL is where people decide approvals. A held client is shown a
	// link below it. Empty: the approval's number alone is shown.
	ConsoleURL string `yaml:"console_url"`

	// Spool is the queue of records on this node's disk.
	Spool Spool `yaml:"spool"`

	// Bus is the way to the collector.
	Bus Bus `yaml:"bus"`

	// Collector says what the agent believes of the collector.
	Collector Collector `yaml:"collector"`

	// Redirect is the kernel's part.
	Redirect Redirect `yaml:"redirect"`

	// Proxy is the process that serves.
	Proxy Proxy `yaml:"proxy"`

	// Attribution says who can be asked about containers.
	Attribution Attribution `yaml:"attribution"`

	// Identity says whose tokens prove what a workload is.
	Identity Identity `yaml:"identity"`

	// Trust is what jobs have to believe.
	Trust Trust `yaml:"trust"`

	// Approvals says whose votes count.
	Approvals Approvals `yaml:"approvals"`

	// Audit says how much is recorded and how durably.
	Audit Audit `yaml:"audit"`

	// Metrics is for monitoring.
	Metrics Metrics `yaml:"metrics"`

	// Upgrade says what becomes of sessions when another agent takes over.
	Upgrade Upgrade `yaml:"upgrade"`
}

// Spool is the queue of records on this node's disk.
type Spool struct {
	// Limit is what the spool may take of the disk, allocated in advance. When
	// it is full because the collector is away, operations are refused. At
	// least 64MiB. Default: 1GiB.
	Limit Size `yaml:"limit"`
}

// Bus is the way to the collector.
type Bus struct {
	// URL of the NATS server: tls://host:port, or nats://host:port on a network
	// where everybody may read the records.
	URL string `yaml:"url"`

	// NkeySeedFile holds the seed of this agent's NATS user: the nkey.seed that
	// `sluice-collector enrol` writes. Only its owner may read it.
	NkeySeedFile Path `yaml:"nkey_seed_file"`

	// CAFile holds the certificates that the server's is checked against. Empty:
	// the system's.
	CAFile Path `yaml:"ca_file"`
}

// Collector says what the agent believes of the collector.
type Collector struct {
	// LogKey verifies the collector's receipts: the line in the log.pub that
	// `sluice-collector enrol` writes, name+hash+key. Records leave the spool
	// only against a receipt that it verifies.
	LogKey string `yaml:"log_key"`
}

// Redirect is the kernel's part.
type Redirect struct {
	// Pins is a directory on bpffs that keeps programs and maps while no agent
	// runs. Default: /sys/fs/bpf/sluice.
	Pins Path `yaml:"pins"`

	// Cgroup is where the root of cgroup v2 is mounted. Empty: found by itself,
	// or mounted for the agent alone on a host with v1 only.
	Cgroup Path `yaml:"cgroup"`

	// Port is the listeners' port in each container. No container can use it
	// for itself. Below the range of net.ipv4.ip_local_port_range. Default:
	// 15599.
	Port uint16 `yaml:"port"`

	// Exempt are cgroups of the host whose own processes reach protected
	// destinations without the agent, as the kubelet must, by their path below
	// the root of cgroup v2: /system.slice/kubelet.service. Cgroups below them
	// are not exempt. Each of their connections to a protected destination is
	// an alert. A host with cgroup v1 only can exempt nobody. Empty: none.
	Exempt []string `yaml:"exempt"`

	// OpenConnections is what becomes of connections to protected destinations
	// that are open when the first agent starts: drain lets them end by
	// themselves, destroy ends them. Either is an alert. Default: drain.
	OpenConnections string `yaml:"open_connections"`
}

// Proxy is the process that serves: it parses what jobs send and holds the
// servers' credentials, but has no privilege.
type Proxy struct {
	// User is whom the process becomes, a name or a number. No other program may
	// run as it. Default: sluice.
	User string `yaml:"user"`
}

// Attribution says who can be asked about containers.
type Attribution struct {
	// DockerSocket is the Docker Engine's socket. Empty: Docker is not asked,
	// and containers are known to the kernel only (assurance A1).
	DockerSocket Path `yaml:"docker_socket"`

	// PodmanSocket is the socket of the node's Podman, of root's and not of a
	// user's: /run/podman/podman.sock, which podman.socket opens. Empty: Podman is
	// not asked, and its containers are known to the kernel only (assurance A1).
	PodmanSocket Path `yaml:"podman_socket"`

	// CRISocket is the socket of the runtime that the kubelet uses, such as
	// /run/containerd/containerd.sock or /run/crio/crio.sock. It is asked about
	// the containers of pods. Empty: it is not, and Docker is asked instead.
	CRISocket Path `yaml:"cri_socket"`
}

// Identity says whose tokens prove what a workload is.
type Identity struct {
	// Issuers are tried in order for each workload that no provider vouches for.
	// Empty: there are no tokens in files.
	Issuers []Issuer `yaml:"issuers"`

	// Providers are CI systems that are asked, in order, whose a credential is
	// that a job has in its environment. To name one is to consent that the agent
	// reads it there and shows it to that provider, to nobody else. Without
	// providers and issuers no workload is above assurance A2. Empty: no
	// credential is read.
	Providers []Provider `yaml:"providers"`
}

// Issuer is one issuer of workload tokens.
type Issuer struct {
	// Issuer is the token's iss and where its keys are discovered, an https URL.
	Issuer string `yaml:"issuer"`

	// CAFile holds the certificates that the issuer's is checked against. Empty:
	// the system's.
	CAFile Path `yaml:"ca_file"`

	// Audience must be among the token's aud. Use one that no other service
	// accepts, such as sluice.
	Audience string `yaml:"audience"`

	// TokenFile is where the token of a workload lies, with {container_id} or
	// {pod_uid} in it. It must be a place that jobs cannot write.
	TokenFile Path `yaml:"token_file"`

	// Bind says which claims must equal which facts for a token to count. At
	// least one: a token that is bound to nothing proves nothing.
	Bind []Binding `yaml:"bind"`
}

// Binding ties a token to a workload.
type Binding struct {
	// Claim is the path of a claim, with / between its parts, as in
	// kubernetes.io/pod/uid. A part that itself holds a / is matched too.
	Claim string `yaml:"claim"`

	// To is the fact that the claim must equal: pod_uid, container_id,
	// container_name, or label: and the name of a label of the container or its
	// pod, as in label:com.gitlab.gitlab-runner.job.id. Use a label that no job
	// can set.
	To string `yaml:"to"`
}

// Provider is one CI system.
type Provider struct {
	// Kind is github, also for Forgejo, or buildkite: the agent has a token
	// minted for itself, which gives A4; gitlab: it looks up whose CI_JOB_TOKEN
	// is, or environment: it verifies a token that lies in a variable. Both give A3.
	Kind string `yaml:"kind"`

	// Issuer is the iss of the provider's tokens and where its keys are
	// discovered, an https URL; for gitlab that of the instance. Buildkite's API
	// and GitLab's are asked below it.
	Issuer string `yaml:"issuer"`

	// CAFile holds the certificates that those of all its servers are checked
	// against. Empty: the system's.
	CAFile Path `yaml:"ca_file"`

	// Audience is what tokens are minted for, with something after it that no
	// other token has; for environment it must be among the token's aud. For
	// gitlab there is none.
	Audience string `yaml:"audience"`

	// Hosts are those, for github, that a job's ACTIONS_ID_TOKEN_REQUEST_URL may
	// be at, with all names below them, as in actions.githubusercontent.com or
	// forge.example.com:3000. A job writes that URL: name hosts of the provider's
	// alone.
	Hosts []string `yaml:"hosts"`

	// Variable is where, for environment, the token lies, as in
	// CIRCLE_OIDC_TOKEN_V2.
	Variable string `yaml:"variable"`

	// Bind says which claims must equal which facts for an answer to count. At
	// least one: a job can show what it stole from another, but not from within
	// that one's container.
	Bind []Binding `yaml:"bind"`
}

// Trust is what jobs have to believe: an authority for those that insist on
// TLS, and one for SSH hosts. sluice-agent authority makes both.
type Trust struct {
	// CAFile holds the certificate of the authority, which `sluice-agent
	// authority` makes, bound to the policy's hosts. Jobs must believe it: put
	// it into their images. Empty: a job that asks for TLS is told that there is
	// none.
	CAFile Path `yaml:"ca_file"`

	// KeyFile holds the authority's key. Only its owner may read it.
	KeyFile Path `yaml:"key_file"`

	// SSHKeyFile holds the key of the authority that signs SSH host
	// certificates. Needed where the policy has SSH hosts. Beside it,
	// `sluice-agent authority` writes a file of the same name and .pub, its
	// public key, and one with .known_hosts: lines that make jobs believe it for
	// the policy's hosts only. Put these into their images' ssh_known_hosts.
	SSHKeyFile Path `yaml:"ssh_key_file"`
}

// Approvals says whose votes count.
type Approvals struct {
	// RosterFile lists approvers and their keys, signed by the root key. Empty:
	// nobody can approve, and every hold ends in a deny.
	RosterFile Path `yaml:"roster_file"`

	// RootKey verifies the roster: an OpenSSH public key, ssh-ed25519 AAAA….
	// Its private half belongs on no machine of the fleet.
	RootKey string `yaml:"root_key"`
}

// Audit says how much is recorded and how durably.
type Audit struct {
	// Durability is default, where what may change something waits for the
	// disk and all else for the spool's memory, which survives any process;
	// strict, where everything waits for the disk; or remote, where everything
	// waits for the collector's receipt, survives the node, and is refused after
	// 10s without one. Default: default.
	Durability string `yaml:"durability"`

	// OnFull is what becomes of an operation whose record finds no room, because
	// the spool is full or its workload has a quarter of it: refuse; or forward,
	// which lets it pass without a record. How many did is stated in the trail,
	// and a finding. Default: refuse.
	OnFull string `yaml:"on_full"`

	// ResponseLimit is up to which size a response is kept whole; beyond it its
	// digest and size are. Default: 64KiB.
	ResponseLimit Size `yaml:"response_limit"`
}

// Upgrade says what becomes of sessions when another agent takes over, as it
// does at SIGHUP (systemctl reload).
type Upgrade struct {
	// Drain is how long sessions that are open may go on in the old process.
	// Then they are ended. Default: 1h.
	Drain Duration `yaml:"drain"`
}

// Metrics is for monitoring.
type Metrics struct {
	// Listen is the address of the metrics page, as in 127.0.0.1:9402. It holds
	// no values, but names of resources and rules. Its path /ready says whether
	// interception works. Empty: there is none.
	Listen Address `yaml:"listen"`
}

// Defaults sets what holds where the file says nothing.
func (a *Agent) Defaults() {
	a.Cluster = "main"
	a.StateDir = "/var/lib/sluice-agent"
	a.Spool.Limit = 1 << 30
	a.Redirect.Pins = "/sys/fs/bpf/sluice"
	a.Redirect.Port = 15599
	a.Redirect.OpenConnections = "drain"
	a.Proxy.User = "sluice"
	a.Audit.Durability = "default"
	a.Audit.OnFull = "refuse"
	a.Audit.ResponseLimit = 64 << 10
	a.Upgrade.Drain = Duration(time.Hour)
}
