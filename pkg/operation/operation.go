// Package operation describes one thing that a client asks for inside a
// session, in words that no protocol owns.
//
// A protocol plug-in fills an Operation from wire bytes; policy reads it; the
// record keeps it. The package promises that printing an operation never
// prints what the client sent.
package operation

import "fmt"

// Kind says what sort of thing was asked for.
type Kind string

// The kinds of operation.
const (
	Connect     Kind = "connect"     // open the server leg and log in
	Statement   Kind = "statement"   // SQL text to be run
	Replication Kind = "replication" // open a session that copies a whole server or database
	CopyIn      Kind = "copy-in"     // data from the client into a relation
	Call        Kind = "call"        // a function called outside SQL text
	Cancel      Kind = "cancel"      // stop what runs in another session
	Exec        Kind = "exec"        // a command line on a host
	Shell       Kind = "shell"       // an interactive shell on a host
	Subsystem   Kind = "subsystem"   // a named service of a host, such as sftp
	File        Kind = "file"        // one request for a host's files
	Forward     Kind = "forward"     // a connection through a host, or a port of it
	Fetch       Kind = "fetch"       // read a repository
	Push        Kind = "push"        // change refs of a repository
	Request     Kind = "http"        // one request of an HTTP interface
	Unread      Kind = "unread"      // a session, or the rest of one, that is relayed without being read: policy is not asked
)

// Text is something that a job or a server wrote. It prints as its length;
// only Reveal gives the bytes, so that each place that reads them is easy to
// find.
type Text []byte

// String returns "[n bytes]".
func (t Text) String() string { return fmt.Sprintf("[%d bytes]", len(t)) }

// GoString returns what String does, for %#v.
func (t Text) GoString() string { return t.String() }

// Format prints String whatever the verb, so that %s and %x cannot reveal it.
func (t Text) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// MarshalText writes String.
func (t Text) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Reveal returns the bytes. The caller must not log them and must not change
// them.
func (t Text) Reveal() []byte { return t }

// Operation is one thing that the client asks for. The plug-in owns the memory
// behind it until Exchange.Done returns.
type Operation struct {
	ID       uint64 // within the session, from 1; set by the guard
	Parent   uint64 // the operation that this one belongs to, 0 for none
	Kind     Kind
	Text     Text    // what is recorded as the request, e.g. the SQL text
	Params   []Param // bound values, in order
	Bytes    []byte  // exactly what will be forwarded if it is allowed; an approval binds it
	Source   []byte  // the exact text that Bytes runs by a name; an approval binds it, and it is never recorded
	Context  Context
	SQL      *SQL   // nil when this is not SQL
	SSH      *SSH   // nil when this is nothing asked of a host
	Git      *Git   // nil when this is nothing asked of a repository
	HTTP     *HTTP  // nil when this did not come over HTTP
	Kube     *Kube  // nil when this is nothing asked of a cluster
	Unread   string // why nobody reads it; of Kind Unread alone, and never bytes from the wire
	Parsed   bool   // false: we could not understand the request
	ReadOnly bool   // proven free of lasting effect; false when in doubt

	// Data that follows from the client, and the answer, are recorded by keyed
	// hash and size only.
	SealedRequest, SealedResponse bool
}

// Param is one bound value. Text is nil for NULL. Sealed values are recorded
// as keyed hash and length only.
type Param struct {
	Text   Text
	Null   bool
	Binary bool
	Sealed bool
	Type   uint32 // as the client declared it, the server's number; 0: it did not
}

// Context is what else decides the meaning of the request; an approval binds
// it.
type Context struct {
	Database      string // as the server knows it
	Role          string // that the server runs the operation as
	SearchPath    string // as the server shows it: names in it may stand in quotes
	InTransaction bool
	Unknown       bool // role and search path could not be read: nobody can approve the operation
}

// SQL is what a rule can see of an SQL operation, as op.sql.
type SQL struct {
	Statements []SQLStatement
	Shape      [16]byte // what texts share that differ only in values; zero: not known
}

// Class sorts statements by what they can do.
type Class string

// The classes of statement that rules speak of.
const (
	Read        Class = "read"
	Write       Class = "write"
	DDL         Class = "ddl"
	Privilege   Class = "privilege"
	SessionSet  Class = "session"
	Transaction Class = "transaction"
	Copy        Class = "copy"
	Admin       Class = "admin"
	Procedural  Class = "procedural"
	UnknownSQL  Class = "unknown"
)

// SQLStatement is one statement of the text.
type SQLStatement struct {
	Kind      string   // "SELECT", "DROP TABLE", "ALTER TABLE", …
	Class     Class    // what it can do
	Relations []string // every relation that it names, as written, folded to the server's case, schema-qualified where it was
	Columns   []string // every column that it names, with its qualifier where it has one
	Functions []string // every function that it calls
	HasWhere  bool     // UPDATE and DELETE: a WHERE clause is there
	Opaque    bool     // it may run SQL, or read or write relations, that the text does not show
}
