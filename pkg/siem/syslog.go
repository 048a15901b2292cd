package siem

import (
	"fmt"
	"strings"
	"time"
)

// audit is syslog's facility "log audit" (RFC 5424, table 1).
const audit = 13

// AppendSyslog appends the event as a syslog message (RFC 5424) without a line
// end in it, whose text is CEF. The host is the node whose record it is. The
// text is UTF-8 and begins without a byte order mark, which readers of CEF do
// not expect; by the RFC's grammar it is MSG-ANY.
func (e *Event) AppendSyslog(dst []byte) []byte {
	at := "-"
	if !e.Invalid {
		at = e.Header.Time.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano) // TIME-SECFRAC has at most six digits
	}
	dst = fmt.Appendf(dst, "<%d>1 %s %s sluice - %s - ", audit*8+syslogSeverity(e.judge().severity), at, token(e.Agent, 255), token(string(e.Type()), 32))
	return appendCEF(dst, e)
}

// syslogSeverity maps to syslog's: notice, warning or error above info.
func syslogSeverity(s severity) int {
	return [...]int{informational: 6, low: 5, medium: 4, high: 3}[s]
}

// token is s as a field of the header: printable ASCII without blanks, "-" for
// none.
func token(s string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '_'
		}
		return r
	}, s)
	if clean == "" {
		return "-"
	}
	return clean[:min(limit, len(clean))]
}
