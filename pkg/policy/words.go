package policy

import (
	"cel.dev/cel-go/cel"

	"github.com/sluicegate/sluice/pkg/operation"
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
	get    func(of any) any // from the Go value behind the object; an error where nobody knows
	isSet  func(of any) bool
}

// The types of objects. A condition never spells them.
var (
	operationType = cel.ObjectType("sluice.Operation")
	contextType   = cel.ObjectType("sluice.Context")
	sqlType       = cel.ObjectType("sluice.SQL")
	statementType = cel.ObjectType("sluice.Statement")
	sshType       = cel.ObjectType("sluice.SSH")
	commandType   = cel.ObjectType("sluice.SSHCommand")
	gitType       = cel.ObjectType("sluice.Git")
	gitRefType    = cel.ObjectType("sluice.GitRef")
	kubeType      = cel.ObjectType("sluice.Kube")
	httpType      = cel.ObjectType("sluice.HTTP")
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
		{"verified", cel.MapType(cel.StringType, cel.DynType), "claims of a token or of the job's CI provider that were checked and bound to the container; empty without"},
		{"claimed", claimedType, "what the job says about itself; not in an allow"},
		{"agent", agentType, "who acts through the job; rests partly on claims, so not in an allow"},
		{"assurance", cel.IntType, "how well the workload is known, 0 to 4: 3 with verified claims, 4 where a CI system minted the token for the agent"},
	}
}

// objects lists the fields of everything that variables reach.
func objects() []object {
	return []object{
		operationObject(), contextObject(), sqlObject(), statementObject(),
		sshObject(), commandObject(), gitObject(), gitRefObject(), kubeObject(), httpObject(),
		sessionObject(), kernelObject(), orchObject(), claimedObject(), agentObject(),
	}
}

// of makes a getter from a typed one.
func of[T any](get func(T) any) func(any) any {
	return func(v any) any { return get(v.(T)) }
}

func operationObject() object {
	kinds := []string{
		string(operation.Connect), string(operation.Replication), string(operation.Statement), string(operation.CopyIn),
		string(operation.Call), string(operation.Cancel), string(operation.Exec), string(operation.Shell),
		string(operation.Subsystem), string(operation.File), string(operation.Forward), string(operation.Fetch),
		string(operation.Push), string(operation.Request),
	}
	return object{operationType, []field{
		{
			name: "kind", typ: cel.StringType, doc: "what sort of thing is asked for", values: kinds,
			get: of(func(s *scope) any { return string(s.op.Kind) }),
		},
		{
			name: "parsed", typ: cel.BoolType, doc: "it could be understood",
			get: of(func(s *scope) any {
				if s.op.Parsed && s.http().Streamed {
					return errStreamed
				}
				return s.op.Parsed
			}),
		},
		{
			name: "read_only", typ: cel.BoolType, doc: "it is proven to have no lasting effect",
			get: of(func(s *scope) any { return s.op.ReadOnly }),
		},
		{
			name: "context", typ: contextType, doc: "what else decides its meaning",
			get: of(func(s *scope) any { return &s.op.Context }),
		},
		{
			name: "sql", typ: sqlType, doc: "its statements; without any unless has(op.sql)",
			get:   of(func(s *scope) any { return (*sqlScope)(s) }),
			isSet: func(v any) bool { return v.(*scope).op.SQL != nil },
		},
		{
			name: "ssh", typ: sshType, doc: "what is asked of a host; empty unless has(op.ssh)",
			get:   of(func(s *scope) any { return s.ssh() }),
			isSet: func(v any) bool { return v.(*scope).op.SSH != nil },
		},
		{
			name: "git", typ: gitType, doc: "what is asked of a repository; empty unless has(op.git)",
			get:   of(func(s *scope) any { return (*gitScope)(s) }),
			isSet: func(v any) bool { return v.(*scope).op.Git != nil },
		},
		{
			name: "kube", typ: kubeType, doc: "what is asked of a cluster; empty unless has(op.kube)",
			get:   of(func(s *scope) any { return s.kube() }),
			isSet: func(v any) bool { return v.(*scope).op.Kube != nil },
		},
		{
			name: "http", typ: httpType, doc: "the request, where it came over HTTP; empty unless has(op.http)",
			get:   of(func(s *scope) any { return s.http() }),
			isSet: func(v any) bool { return v.(*scope).op.HTTP != nil },
		},
	}}
}

func contextObject() object {
	return object{contextType, []field{
		{
			name: "database", typ: cel.StringType, doc: "as the server names it",
			get: of(func(c *operation.Context) any { return c.Database }),
		},
		{
			name: "role", typ: cel.StringType, doc: "that the server runs it as",
			get: of(func(c *operation.Context) any { return c.Role }),
		},
		{
			name: "in_transaction", typ: cel.BoolType, doc: "a transaction is open",
			get: of(func(c *operation.Context) any { return c.InTransaction }),
		},
	}}
}

func sqlObject() object {
	return object{sqlType, []field{
		{
			name: "statements", typ: cel.ListType(statementType), doc: "every statement of the text, in order",
			get: of(func(s *sqlScope) any { return s.statements() }),
		},
	}}
}

func statementObject() object {
	classes := []string{
		string(operation.Read), string(operation.Write), string(operation.DDL), string(operation.Privilege),
		string(operation.SessionSet), string(operation.Transaction), string(operation.Copy),
		string(operation.Admin), string(operation.Procedural), string(operation.UnknownSQL),
	}
	return object{statementType, []field{
		{
			name: "kind", typ: cel.StringType, doc: "the command's words in upper case, as in \"DROP TABLE\"",
			get: of(func(s *statement) any { return s.Kind }),
		},
		{
			name: "class", typ: cel.StringType, doc: "what it can do", values: classes,
			get: of(func(s *statement) any { return string(s.Class) }),
		},
		{
			name: "relations", typ: stringsType, doc: "every table or view that it names or reaches by these names, in each form given below",
			get: of(func(s *statement) any { return s.relations() }),
		},
		{
			name: "columns", typ: stringsType, doc: "every column that it names, with its qualifier where it has one",
			get: of(func(s *statement) any { return s.Columns }),
		},
		{
			name: "functions", typ: stringsType, doc: "every function that it calls",
			get: of(func(s *statement) any { return s.Functions }),
		},
		{
			name: "has_where", typ: cel.BoolType, doc: "an UPDATE or DELETE has a WHERE clause",
			get: of(func(s *statement) any { return s.HasWhere }),
		},
		{
			name: "opaque", typ: cel.BoolType, doc: "it may do what the text does not show: DO, EXECUTE, a function that is not built in, CASCADE",
			get: of(func(s *statement) any { return s.Opaque }),
		},
	}}
}
