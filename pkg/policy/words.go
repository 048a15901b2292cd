package policy

import (
	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// variable is a name that a condition can begin with.
type variable struct {
	name string
	typ  *cel.Type
	doc  string
}

// object is a type whose fields a condition can read.
type object struct {
	typ    *cel.Type
	fields []field
}

// field is one value that a condition can read.
type field struct {
	name   string
	typ    *cel.Type
	doc    string
	values []string         // all that it can be; nil: anything
	get    func(of any) any // from the Go value behind the object
	isSet  func(of any) bool
}

// The types of objects. A condition never spells them.
var (
	operationType = cel.ObjectType("sluice.Operation")
	contextType   = cel.ObjectType("sluice.Context")
	sqlType       = cel.ObjectType("sluice.SQL")
	statementType = cel.ObjectType("sluice.Statement")
	sessionType   = cel.ObjectType("sluice.Session")
	kernelType    = cel.ObjectType("sluice.Kernel")
	orchType      = cel.ObjectType("sluice.Orch")
	claimedType   = cel.ObjectType("sluice.Claimed")
	agentType     = cel.ObjectType("sluice.Agent")

	stringsType = cel.ListType(cel.StringType)
	mapType     = cel.MapType(cel.StringType, cel.StringType)
)

// variables lists what a condition can read, as docs/policy.md prints it.
func variables() []variable {
	return []variable{
		{"op", operationType, "the operation that is asked for"},
		{"session", sessionType, "the connection that it is asked on"},
		{"kernel", kernelType, "what the kernel attests of the process that connected"},
		{"orch", orchType, "what the container runtime says of its container"},
		{"verified", cel.MapType(cel.StringType, cel.DynType), "claims of a token that was checked and bound to the container; empty without one"},
		{"claimed", claimedType, "what the job says about itself; not in an allow"},
		{"agent", agentType, "who acts through the job; rests partly on claims, so not in an allow"},
		{"assurance", cel.IntType, "how well the workload is known, 0 to 4"},
	}
}

// objects lists the fields of everything that variables reach.
func objects() []object {
	return []object{
		operationObject(), contextObject(), sqlObject(), statementObject(),
		sessionObject(), kernelObject(), orchObject(), claimedObject(), agentObject(),
	}
}

// of makes a getter from a typed one.
func of[T any](get func(T) any) func(any) any {
	return func(v any) any { return get(v.(T)) }
}

func operationObject() object {
	kinds := []string{
		string(operation.Connect), string(operation.Statement), string(operation.CopyIn),
		string(operation.Call), string(operation.Cancel),
	}
	return object{operationType, []field{
		{name: "kind", typ: cel.StringType, doc: "what sort of thing is asked for", values: kinds,
			get: of(func(s *scope) any { return string(s.op.Kind) })},
		{name: "parsed", typ: cel.BoolType, doc: "it could be understood",
			get: of(func(s *scope) any { return s.op.Parsed })},
		{name: "read_only", typ: cel.BoolType, doc: "it is proven to have no lasting effect",
			get: of(func(s *scope) any { return s.op.ReadOnly })},
		{name: "context", typ: contextType, doc: "what else decides its meaning",
			get: of(func(s *scope) any { return &s.op.Context })},
		{name: "sql", typ: sqlType, doc: "its statements; without any unless has(op.sql)",
			get:   of(func(s *scope) any { return (*sqlScope)(s) }),
			isSet: func(v any) bool { return v.(*scope).op.SQL != nil }},
	}}
}

func contextObject() object {
	return object{contextType, []field{
		{name: "database", typ: cel.StringType, doc: "as the server names it",
			get: of(func(c *operation.Context) any { return c.Database })},
		{name: "role", typ: cel.StringType, doc: "that the server runs it as",
			get: of(func(c *operation.Context) any { return c.Role })},
		{name: "in_transaction", typ: cel.BoolType, doc: "a transaction block is open",
			get: of(func(c *operation.Context) any { return c.InTransaction })},
	}}
}

func sqlObject() object {
	return object{sqlType, []field{
		{name: "statements", typ: cel.ListType(statementType), doc: "every statement of the text, in order",
			get: of(func(s *sqlScope) any { return s.statements() })},
	}}
}

func statementObject() object {
	classes := []string{
		string(operation.Read), string(operation.Write), string(operation.DDL), string(operation.Privilege),
		string(operation.SessionSet), string(operation.Transaction), string(operation.Copy),
		string(operation.Admin), string(operation.Procedural), string(operation.UnknownSQL),
	}
	return object{statementType, []field{
		{name: "kind", typ: cel.StringType, doc: "the command's words in upper case, as in \"DROP TABLE\"",
			get: of(func(s *statement) any { return s.Kind })},
		{name: "class", typ: cel.StringType, doc: "what it can do", values: classes,
			get: of(func(s *statement) any { return string(s.Class) })},
		{name: "relations", typ: stringsType, doc: "every table or view that it names, in each form given below",
			get: of(func(s *statement) any { return s.relations() })},
		{name: "columns", typ: stringsType, doc: "every column that it names, with its qualifier where it has one",
			get: of(func(s *statement) any { return s.Columns })},
		{name: "functions", typ: stringsType, doc: "every function that it calls",
			get: of(func(s *statement) any { return s.Functions })},
		{name: "has_where", typ: cel.BoolType, doc: "an UPDATE or DELETE has a WHERE clause",
			get: of(func(s *statement) any { return s.HasWhere })},
	}}
}

func sessionObject() object {
	return object{sessionType, []field{
		{name: "id", typ: cel.StringType, doc: "the session's id",
			get: of(func(s *session.Session) any { return s.ID })},
		{name: "resource", typ: cel.StringType, doc: "the resource's name in this file",
			get: of(func(s *session.Session) any { return s.Resource })},
		{name: "protocol", typ: cel.StringType, doc: "the protocol that is spoken",
			get: of(func(s *session.Session) any { return s.Protocol })},
		{name: "destination", typ: cel.StringType, doc: "address and port that the job asked for, as in \"192.0.2.7:5432\"",
			get: of(func(s *session.Session) any { return s.Destination.String() })},
	}}
}

func kernelObject() object {
	return object{kernelType, []field{
		{name: "cgroup_path", typ: cel.StringType, doc: "below the root of cgroup v2",
			get: of(func(k *workload.KernelFacts) any { return k.CgroupPath })},
		{name: "container", typ: cel.StringType, doc: "container id in the cgroup's path",
			get: of(func(k *workload.KernelFacts) any { return k.Container })},
		{name: "exe", typ: cel.StringType, doc: "path of the program, in the job's own file system: a job can put any program there",
			get: of(func(k *workload.KernelFacts) any { return k.Exe })},
		{name: "uid", typ: cel.IntType, doc: "user id outside the container",
			get: of(func(k *workload.KernelFacts) any { return int64(k.UID) })},
	}}
}

func orchObject() object {
	return object{orchType, []field{
		{name: "source", typ: cel.StringType, doc: "who said so, as in \"docker\"; empty: nobody",
			get: of(func(o *workload.OrchFacts) any { return o.Source })},
		{name: "container", typ: cel.StringType, doc: "container id",
			get: of(func(o *workload.OrchFacts) any { return o.Container })},
		{name: "name", typ: cel.StringType, doc: "container name",
			get: of(func(o *workload.OrchFacts) any { return o.Name })},
		{name: "image", typ: cel.StringType, doc: "image as it was asked for",
			get: of(func(o *workload.OrchFacts) any { return o.Image })},
		{name: "pod", typ: cel.StringType, doc: "pod uid",
			get: of(func(o *workload.OrchFacts) any { return o.Pod })},
		{name: "namespace", typ: cel.StringType, doc: "pod namespace",
			get: of(func(o *workload.OrchFacts) any { return o.Namespace })},
		{name: "labels", typ: mapType, doc: "container labels",
			get: of(func(o *workload.OrchFacts) any { return o.Labels })},
		{name: "taints", typ: stringsType, doc: "what weakens the container's boundary, as in \"privileged\"",
			get: of(func(o *workload.OrchFacts) any { return o.Taints })},
	}}
}

func claimedObject() object {
	return object{claimedType, []field{
		{name: "command", typ: stringsType, doc: "command line of the process",
			get: of(func(c *workload.Claims) any { return c.Command })},
		{name: "env", typ: mapType, doc: "the CI variables of its environment",
			get: of(func(c *workload.Claims) any { return c.Env })},
	}}
}

func agentObject() object {
	kinds := []string{string(workload.AgentUnknown), string(workload.AgentPipeline), string(workload.AgentAI)}
	return object{agentType, []field{
		{name: "kind", typ: cel.StringType, doc: "what sort of actor it is", values: kinds,
			get: of(func(a *workload.Agent) any { return string(a.Kind) })},
		{name: "product", typ: cel.StringType, doc: "which coding agent it is",
			get: of(func(a *workload.Agent) any { return a.Product })},
		{name: "evidence", typ: stringsType, doc: "why we think so, each with its provenance",
			get: of(func(a *workload.Agent) any { return a.Evidence })},
	}}
}
