package operation

// HTTP is what a rule can see of one HTTP exchange, as op.http.
type HTTP struct {
	Method string
	Host   string // as the client wrote it, without the port, in lower case
	Path   string // decoded
	Query  string // as the client wrote it
	Body   Text   // whole
}
