package operation

// HTTP is what a rule can see of one HTTP exchange, as op.http.
type HTTP struct {
	Method string
	Host   string // as the client wrote it, without the port, in lower case
	Path   string // decoded
	Query  string // as the client wrote it
	Body   Text   // whole; nothing where it is Streamed

	// Streamed is a request with a body that is larger than what is held of one:
	// it is forwarded as it comes, and before that nobody knows what it says. Form
	// is one in which servers may find another method than Method.
	Streamed, Form bool
}
