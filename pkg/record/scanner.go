package record

import (
	"bytes"
	"math"
	"time"
	"unicode/utf8"
)

// scanner takes fields in their order. One that is not next has its zero value.
// What it takes is valid JSON and has one meaning: keys stand once because they
// stand in order.
type scanner struct {
	rest   []byte
	keep   bool // strings are copied; without it only their form is looked at
	reader *BriefReader
	failed bool
}

func (s *scanner) ended() bool { return !s.failed && len(s.rest) == 0 }

func (s *scanner) skip(prefix string) bool {
	if len(s.rest) < len(prefix) || string(s.rest[:len(prefix)]) != prefix {
		return false
	}
	s.rest = s.rest[len(prefix):]
	return true
}

func (s *scanner) want(prefix string) {
	if !s.skip(prefix) {
		s.failed = true
	}
}

// plain says which bytes stand in a string for themselves. Those of more than
// ASCII do too, when all of them are UTF-8.
var plain = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\'
	}
	return set
}()

// raw reads a string without escapes.
func (s *scanner) raw(name string) []byte {
	if !s.skip(name) {
		return nil
	}
	return s.quoted()
}

func (s *scanner) quoted() []byte {
	s.want(`"`)
	end, ascii := s.run(0)
	if end == len(s.rest) || s.rest[end] != '"' || !ascii && !utf8.Valid(s.rest[:end]) {
		s.failed = true
		return nil
	}
	value := s.rest[:end]
	s.rest = s.rest[end+1:]
	return value
}

// run returns where what stands for itself ends, from a byte on.
func (s *scanner) run(from int) (end int, ascii bool) {
	ascii = true
	for end = from; end < len(s.rest); end++ {
		if c := s.rest[end]; plain[c] {
			continue
		} else if c < utf8.RuneSelf {
			break
		}
		ascii = false
	}
	return end, ascii
}

func (s *scanner) text(name string) string {
	value := s.raw(name)
	if !s.keep {
		return ""
	}
	return string(value)
}

// wantText is text of a field that is always there.
func (s *scanner) wantText(name string) string {
	s.want(name)
	value := s.quoted()
	if !s.keep {
		return ""
	}
	return string(value)
}

// rawText is a string as it is written.
type rawText struct {
	raw     []byte
	escapes bool
}

// String returns the text.
func (t rawText) String() string {
	if !t.escapes {
		return string(t.raw)
	}
	return string(t.appendTo(make([]byte, 0, len(t.raw))))
}

func (t rawText) appendTo(dst []byte) []byte {
	for i := 0; i < len(t.raw); i++ {
		c := t.raw[i]
		if c == '\\' {
			i++
			c = shortEscape(t.raw[i])
		}
		dst = append(dst, c)
	}
	return dst
}

// escaped reads a string with the short escapes that AppendBody writes.
func (s *scanner) escaped(name string) (t rawText) {
	if !s.skip(name) {
		return t
	}
	if len(s.rest) == 0 || s.rest[0] != '"' {
		s.failed = true
		return t
	}
	end, ascii := 1, true
	for {
		next, plain := s.run(end)
		end, ascii = next, ascii && plain
		if end+1 >= len(s.rest) || s.rest[end] != '\\' || shortEscape(s.rest[end+1]) == 0 {
			break
		}
		end, t.escapes = end+2, true
	}
	if end >= len(s.rest) || s.rest[end] != '"' || !ascii && !utf8.Valid(s.rest[1:end]) {
		s.failed = true
		return t
	}
	t.raw, s.rest = s.rest[1:end], s.rest[end+1:]
	return t
}

// shortEscape returns what stands for a byte behind a backslash, 0 for none.
func shortEscape(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case 'n':
		return '\n'
	case 't':
		return '\t'
	case 'r':
		return '\r'
	}
	return 0
}

// base64 reads bytes, and leaves them as they are written.
func (s *scanner) base64(name string) []byte {
	if !s.skip(name) {
		return nil
	}
	value := s.quoted()
	digits := bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("=")), []byte("="))
	for _, c := range digits {
		s.failed = s.failed || !digit64[c]
	}
	s.failed = s.failed || len(value) == 0 || len(value)%4 != 0 // nothing is not written
	return value
}

// digit64 says which bytes are digits of base64.
var digit64 = func() (set [256]bool) {
	for c := range set {
		set[c] = c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/'
	}
	return set
}()

func (s *scanner) flag(name string) bool {
	if !s.skip(name) || s.skip("false") {
		return false
	}
	s.want("true")
	return true
}

// count reads a number that is not negative and has no leading zeros.
func (s *scanner) count(name string) uint64 {
	if !s.skip(name) {
		return 0
	}
	return s.digits()
}

// safeDigits is how many digits a number may have and be in range whatever they
// are.
const safeDigits = 19

func (s *scanner) digits() (n uint64) {
	i := 0
	for ; i < len(s.rest) && s.rest[i]-'0' <= 9; i++ {
		d := uint64(s.rest[i] - '0')
		if i >= safeDigits && n > (math.MaxUint64-d)/10 {
			s.failed = true
		}
		n = n*10 + d
	}
	if i == 0 || i > 1 && s.rest[0] == '0' {
		s.failed = true
	}
	s.rest = s.rest[i:]
	return n
}

func (s *scanner) number(name string) int64 {
	if !s.skip(name) {
		return 0
	}
	if s.skip("-") {
		n := s.digits()
		s.failed = s.failed || n > math.MaxInt64
		return -int64(n)
	}
	n := s.digits()
	s.failed = s.failed || n > math.MaxInt64
	return int64(n)
}

// time reads an RFC 3339 time in UTC as AppendHeader writes it:
// 2026-11-29T19:03:08.123456789Z, with a fraction of one to nine digits or none.
func (s *scanner) time(name string) time.Time {
	s.want(name)
	value := s.quoted()
	const whole = len("2026-11-29T19:03:08")
	if len(value) < whole+1 || value[len(value)-1] != 'Z' {
		s.failed = true
		return time.Time{}
	}
	d := decimal{digits: value}
	nanos := 0
	if fraction := len(value) - whole - 2; fraction >= 0 {
		nanos = d.take(whole+1, fraction, '.')
		d.failed = d.failed || fraction == 0 || fraction > 9
		for i := fraction; i < 9; i++ {
			nanos *= 10
		}
	}
	if r := s.reader; r != nil && string(r.second) == string(value[:whole]) {
		s.failed = s.failed || d.failed
		return time.Unix(r.since, int64(nanos)).UTC()
	}
	year := d.take(0, 4, 0)
	month, day := d.take(5, 2, '-'), d.take(8, 2, '-')
	hour, minute, second := d.take(11, 2, 'T'), d.take(14, 2, ':'), d.take(17, 2, ':')
	// No record is older than 1970.
	if d.failed || year < 1970 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) || hour > 23 || minute > 59 || second > 59 {
		s.failed = true
		return time.Time{}
	}
	seconds := int64(daysBefore(year, month)+day-1)*86400 + int64(hour*3600+minute*60+second)
	if r := s.reader; r != nil {
		r.second, r.since = append(r.second[:0], value[:whole]...), seconds
	}
	return time.Unix(seconds, int64(nanos)).UTC()
}

func daysIn(year, month int) int {
	return daysBefore(year+month/12, month%12+1) - daysBefore(year, month)
}

// daysBefore returns the days from 1970 to a month. The year begins in March here,
// so that the leap day is its last.
func daysBefore(year, month int) int {
	if month -= 2; month < 1 {
		month, year = month+12, year-1
	}
	return year*365 + year/4 - year/100 + year/400 + 367*month/12 - 719_498
}

// decimal takes numbers of a fixed length from their places.
type decimal struct {
	digits []byte
	failed bool
}

// take returns the number of n digits at a place, behind a byte when there is
// one.
func (d *decimal) take(at, n int, behind byte) (value int) {
	if behind != 0 && d.digits[at-1] != behind {
		d.failed = true
	}
	for _, c := range d.digits[at : at+n] {
		if c < '0' || c > '9' {
			d.failed = true
		}
		value = value*10 + int(c-'0')
	}
	return value
}
