package mask

import (
	"bytes"
	"slices"
)

// Detector recognises one sort of secret by its form. It is for accidents: who
// wants a value to pass encodes it. What must not be seen is a masked column.
type Detector string

// The detectors.
const (
	JWT         Detector = "jwt"          // RFC 7519, signed or not
	AWSKey      Detector = "aws_key"      // an access key's id; a secret key behind its name
	PrivateKey  Detector = "private_key"  // PEM and OpenPGP armour, up to its end
	CreditCard  Detector = "credit_card"  // a card's prefix and length, and Luhn's check digit
	Email       Detector = "email"        // an address with a dot in its domain
	GitHubToken Detector = "github_token" // ghp_… and its kin, github_pat_…
	GitLabToken Detector = "gitlab_token" // glpat-… and its kin
	SlackToken  Detector = "slack_token"  // xoxb-… and its kin
	GoogleKey   Detector = "google_key"   // AIza…
	StripeKey   Detector = "stripe_key"   // sk_live_… and rk_live_…
)

// Detectors lists all detectors, in the order of the documentation.
func Detectors() []Detector {
	return []Detector{JWT, AWSKey, PrivateKey, CreditCard, Email, GitHubToken, GitLabToken, SlackToken, GoogleKey, StripeKey}
}

// Find returns where the first secret begins and ends, or -1. It allocates
// nothing.
func (d Detector) Find(value []byte) (start, end int) {
	switch d {
	case JWT:
		return findJWT(value)
	case AWSKey:
		return findAWSKey(value)
	case PrivateKey:
		return findPrivateKey(value)
	case CreditCard:
		return findCard(value)
	case Email:
		return findEmail(value)
	case GitHubToken:
		return findToken(value, gitHubPrefixes, 36)
	case GitLabToken:
		return findToken(value, gitLabPrefixes, 20)
	case SlackToken:
		return findToken(value, slackPrefixes, 10)
	case GoogleKey:
		return findToken(value, googlePrefixes, 35)
	case StripeKey:
		return findToken(value, stripePrefixes, 16)
	}
	return 0, len(value) // nobody knows what it looks like
}

// Find returns the first secret in a value and what hides it; by is nil where
// there is none.
func (s *Set) Find(value []byte) (start, end int, by *Detection) {
	for i := range s.Detect {
		from, to := s.Detect[i].Detector.Find(value)
		if from >= 0 && (by == nil || from < start || from == start && to > end) {
			start, end, by = from, to, &s.Detect[i]
		}
	}
	return start, end, by
}

// AppendClean appends value with every secret in it hidden, and says how many
// there were. Where null is true a mask wants no value at all.
func (s *Set) AppendClean(dst, key, value []byte) (out []byte, found int, null bool) {
	mark := len(dst)
	for {
		start, end, by := s.Find(value)
		if by == nil {
			return append(dst, value...), found, false
		}
		found++
		dst = append(dst, value[:start]...)
		if dst, null = by.Method.Apply(dst, key, value[start:end]); null {
			return dst[:mark], found, true
		}
		value = value[end:]
	}
}

var (
	gitHubPrefixes = [][]byte{[]byte("ghp_"), []byte("gho_"), []byte("ghu_"), []byte("ghs_"), []byte("ghr_"), []byte("github_pat_")}
	gitLabPrefixes = [][]byte{[]byte("glpat-"), []byte("gldt-"), []byte("glrt-"), []byte("glcbt-"), []byte("glptt-")}
	slackPrefixes  = [][]byte{[]byte("xoxb-"), []byte("xoxp-"), []byte("xoxa-"), []byte("xoxr-"), []byte("xoxs-"), []byte("xapp-")}
	googlePrefixes = [][]byte{[]byte("AIza")}
	stripePrefixes = [][]byte{[]byte("sk_live_"), []byte("rk_live_"), []byte("sk_test_")}
)

// findToken finds a prefix that at least so many characters of a token follow.
func findToken(value []byte, prefixes [][]byte, least int) (start, end int) {
	start, end = -1, -1
	for _, prefix := range prefixes {
		for from := 0; ; {
			i := bytes.Index(value[from:], prefix)
			if i < 0 {
				break
			}
			at := from + i
			stop := run(value, at+len(prefix), tokenByte)
			if stop-at-len(prefix) >= least {
				if start < 0 || at < start {
					start, end = at, stop
				}
				break
			}
			from = at + len(prefix)
		}
	}
	return start, end
}

// run returns where a run of bytes of one class ends.
func run(value []byte, from int, class func(byte) bool) int {
	for from < len(value) && class(value[from]) {
		from++
	}
	return from
}

func isDigit(c byte) bool   { return c >= '0' && c <= '9' }
func isLetter(c byte) bool  { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func tokenByte(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' || c == '-' }

// findJWT finds two base64url parts that begin like JSON objects ("eyJ" is
// `{"`), and a third, which is empty without a signature.
func findJWT(value []byte) (start, end int) {
	for from := 0; ; {
		i := bytes.Index(value[from:], jsonStart)
		if i < 0 {
			return -1, -1
		}
		start = from + i
		end = run(value, start, tokenByte)
		if bytes.HasPrefix(value[end:], claimsStart) {
			if end = run(value, end+1, tokenByte); end < len(value) && value[end] == '.' {
				return start, run(value, end+1, tokenByte)
			}
		}
		from = max(end, start+len(jsonStart))
	}
}

var (
	jsonStart   = []byte("eyJ")
	claimsStart = []byte(".eyJ")
)

// keyIDs begin the ids of keys that can sign (IAM documentation, "Unique
// identifiers").
var keyIDs = [][]byte{[]byte("AKIA"), []byte("ASIA"), []byte("ABIA"), []byte("ACCA")}

func findAWSKey(value []byte) (start, end int) {
	const idSize = 20
	start, end = findSecretKey(value)
	for _, prefix := range keyIDs {
		for from := 0; ; {
			i := bytes.Index(value[from:], prefix)
			if i < 0 {
				break
			}
			at := from + i
			stop := run(value, at, func(c byte) bool { return c >= 'A' && c <= 'Z' || isDigit(c) })
			if stop-at == idSize && (at == 0 || !tokenByte(value[at-1])) {
				if start < 0 || at < start {
					start, end = at, stop
				}
				break
			}
			from = at + len(prefix)
		}
	}
	return start, end
}

// findSecretKey finds forty characters of base64 behind the name that tools
// give them; alone they look like any hash.
func findSecretKey(value []byte) (start, end int) {
	const size = 40
	for from := 0; ; {
		i := indexFold(value[from:], secretName)
		if i < 0 {
			return -1, -1
		}
		from += i + len(secretName)
		at := run(value, from, func(c byte) bool { return c == ' ' || c == '=' || c == ':' || c == '"' || c == '\'' || c == '\\' })
		stop := run(value, at, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '+' || c == '/' })
		if at > from && stop-at == size {
			return at, stop
		}
	}
}

var secretName = []byte("secret_access_key")

// indexFold is bytes.Index without regard to the case of ASCII letters. lower
// is in lower case.
func indexFold(value, lower []byte) int {
	for i := 0; i+len(lower) <= len(value); i++ {
		if value[i]|0x20 == lower[0] && bytes.EqualFold(value[i:i+len(lower)], lower) {
			return i
		}
	}
	return -1
}

var (
	armourBegin = []byte("-----BEGIN ")
	armourEnd   = []byte("-----END ")
	privateKey  = []byte("PRIVATE KEY")
	dashes      = []byte("-----")
)

// findPrivateKey finds armour that names a private key. Without an end it goes
// on to the end of the value.
func findPrivateKey(value []byte) (start, end int) {
	for from := 0; ; {
		i := bytes.Index(value[from:], armourBegin)
		if i < 0 {
			return -1, -1
		}
		start = from + i
		from = start + len(armourBegin)
		label := bytes.Index(value[from:], dashes)
		if label < 0 || label > 64 || !bytes.Contains(value[from:from+label], privateKey) {
			continue
		}
		body := from + label + len(dashes)
		last := bytes.Index(value[body:], armourEnd)
		if last < 0 {
			return start, len(value)
		}
		tail := body + last + len(armourEnd)
		closing := bytes.Index(value[tail:], dashes)
		if closing < 0 {
			return start, len(value)
		}
		return start, tail + closing + len(dashes)
	}
}

// findEmail finds local@domain.tld (RFC 5321, without quoted local parts).
func findEmail(value []byte) (start, end int) {
	for from := 0; ; {
		i := bytes.IndexByte(value[from:], '@')
		if i < 0 {
			return -1, -1
		}
		at := from + i
		start = at
		for start > from && localByte(value[start-1]) {
			start--
		}
		end = run(value, at+1, func(c byte) bool { return tokenByte(c) && c != '_' || c == '.' || c >= 0x80 })
		for end > at+1 && (value[end-1] == '.' || value[end-1] == '-') {
			end--
		}
		if start < at && bytes.IndexByte(value[at+1:end], '.') > 0 {
			return start, end
		}
		from = at + 1
	}
}

func localByte(c byte) bool {
	return isLetter(c) || isDigit(c) || c >= 0x80 || slices.Contains(localMarks, c)
}

var localMarks = []byte("!#$%&*+/=?^_`{|}~.-")
