package mask_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
)

// armour is put together here, so that no scanner takes this file for a leak.
func armour(label, body string) string {
	return "-----BEGIN " + label + "-----\n" + body + "\n-----END " + label + "-----"
}

const (
	token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
	card  = "4111 1111 1111 1111"
)

func TestDetectorsFindWhatTheyName(t *testing.T) {
	forty := strings.Repeat("aB3/", 10)
	for _, test := range []struct {
		detector mask.Detector
		value    string
		want     string // what is found; empty for nothing
	}{
		{mask.JWT, "Bearer " + token + ", and more", token},
		{mask.JWT, "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."},
		{mask.JWT, "eyJ eyJ. " + token, token},
		{mask.JWT, "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9", ""},
		{mask.AWSKey, "id=AKIA" + "IOSFODNN7EXAMPLE;", "AKIA" + "IOSFODNN7EXAMPLE"},
		{mask.AWSKey, "XAKIA" + "IOSFODNN7EXAMPLE", ""},
		{mask.AWSKey, "AKIA" + "IOSFODNN7EXAMPLE5", ""},
		{mask.AWSKey, "AWS_SECRET_ACCESS_KEY=" + forty, forty},
		{mask.AWSKey, `"secret_access_key": "` + forty + `"`, forty},
		{mask.AWSKey, forty, ""},
		{mask.PrivateKey, "x " + armour("RSA PRIVATE KEY", "MIIE") + " y", armour("RSA PRIVATE KEY", "MIIE")},
		{mask.PrivateKey, armour("PGP PRIVATE KEY BLOCK", "x"), armour("PGP PRIVATE KEY BLOCK", "x")},
		{mask.PrivateKey, armour("CERTIFICATE", "MIIE"), ""},
		{mask.PrivateKey, "-----BEGIN EC PRIVATE KEY-----\nMIIE", "-----BEGIN EC PRIVATE KEY-----\nMIIE"},
		{mask.PrivateKey, armour("CERTIFICATE", "a") + armour("PRIVATE KEY", "b"), armour("PRIVATE KEY", "b")},
		{mask.CreditCard, "card " + card + ".", card},
		{mask.CreditCard, "4111111111111111", "4111111111111111"},
		{mask.CreditCard, "378282246310005 05/31", "378282246310005"},
		{mask.CreditCard, "4111111111111111 123", "4111111111111111"},
		{mask.CreditCard, "4111111111111112", ""},
		{mask.CreditCard, "0.4111111111111111", ""},
		{mask.CreditCard, "a4111111111111111", ""},
		{mask.CreditCard, "41111111111111110", ""},
		{mask.CreditCard, "1700000000000000", ""},
		{mask.CreditCard, "2026-11-23 19:45:49.123456", ""},
		{mask.Email, "write to <alice@example.com>.", "alice@example.com"},
		{mask.Email, "a@b c@d.e", "c@d.e"},
		{mask.Email, "@example.com x@", ""},
		{mask.GitHubToken, "ghp_" + strings.Repeat("a1", 18), "ghp_" + strings.Repeat("a1", 18)},
		{mask.GitHubToken, "ghp_short", ""},
		{mask.GitLabToken, "glpat-" + strings.Repeat("x", 20), "glpat-" + strings.Repeat("x", 20)},
		{mask.SlackToken, "xoxb-1234567890-abc", "xoxb-1234567890-abc"},
		{mask.GoogleKey, "AIza" + strings.Repeat("Z", 35), "AIza" + strings.Repeat("Z", 35)},
		{mask.StripeKey, "sk_live_" + strings.Repeat("9", 24), "sk_live_" + strings.Repeat("9", 24)},
		{"of tomorrow", "anything", "anything"},
	} {
		start, end := test.detector.Find([]byte(test.value))
		found := ""
		if start >= 0 {
			found = test.value[start:end]
		}
		if found != test.want {
			t.Errorf("%s in %q: found %q, want %q", test.detector, test.value, found, test.want)
		}
	}
}

func all(method mask.Method) *mask.Set {
	s := &mask.Set{}
	for _, d := range mask.Detectors() {
		s.Detect = append(s.Detect, mask.Detection{Detector: d, Mask: "secrets", Method: method})
	}
	return s
}

func TestCleanHidesEverySecretAndNothingElse(t *testing.T) {
	in := "a " + token + " b " + card + " c " + token
	out, found, null := all(mask.Redact).AppendClean([]byte("before: "), key, []byte(in))
	if want := "before: a [redacted] b [redacted] c [redacted]"; string(out) != want || found != 3 || null {
		t.Errorf("got %q, %d, %v", out, found, null)
	}
	out, found, null = all(mask.Null).AppendClean([]byte("before"), key, []byte(in))
	if string(out) != "before" || found != 1 || !null {
		t.Errorf("got %q, %d, %v", out, found, null)
	}
}

func TestFindingNothingCostsNoMemory(t *testing.T) {
	set := all(mask.Redact)
	value := []byte("order 4711 of 2026-11-23 for bob at 1 Main Street, eyJ, AKIA, 0123456789012345")
	if n := testing.AllocsPerRun(100, func() { set.Find(value) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestJSONValuesAtPathsAreHidden(t *testing.T) {
	email := &mask.Path{Column: mask.Column{Mask: "m", Method: mask.Redact}, Keys: []string{"contact", "email"}}
	pin := &mask.Path{Column: mask.Column{Mask: "m", Method: mask.Null}, Keys: []string{"pin"}}
	tail := &mask.Path{Column: mask.Column{Mask: "m", Method: mask.Partial}, Keys: []string{"tail"}}
	for _, test := range []struct {
		in, want string
		masked   int
	}{
		{`{"contact": {"email": "a@b", "x": 1}, "pin": 1234}`, `{"contact": {"email": "[redacted]", "x": 1}, "pin": null}`, 2},
		{`[{"pin":1},{"pin":[1,2]},{"pin":{"a":1}}]`, `[{"pin":null},{"pin":null},{"pin":null}]`, 3},
		{`{"contact":[{"email":"a"},{"email":{"deep":"b"}}]}`, `{"contact":[{"email":"[redacted]"},{"email":"[redacted]"}]}`, 2},
		{`{"pi\u006e":1,"pin":2}`, `{"pi\u006e":null,"pin":null}`, 2},
		{`{"email":"a","contact":"b","x":{"pin":1}}`, `{"email":"a","contact":"b","x":{"pin":1}}`, 0},
		{`{"contact":{"email":null}}`, `{"contact":{"email":null}}`, 1},
		{`{"tail":"abcdefghijkl"}`, `{"tail":"********ijkl"}`, 1},
		{`{"tail":"abcdefgh\"ijkl"}`, `{"tail":"[redacted]"}`, 1},
		{`{"tail":123456789012}`, `{"tail":"[redacted]"}`, 1},
		{` "x" `, ` "x" `, 0},
		{`-1.5e+3`, `-1.5e+3`, 0},
	} {
		out, masked, ok := new(mask.Set).AppendJSON(nil, key, []byte(test.in), []*mask.Path{email, pin, tail})
		if !ok || string(out) != test.want || masked != test.masked {
			t.Errorf("%s: got %s, %d, %v; want %s", test.in, out, masked, ok, test.want)
		}
	}
	for _, broken := range []string{"", "{", `{"a"}`, `{"a":}`, `{"a":1,}`, `[1 2]`, `nul`, `{"a":1} x`, `{'a':1}`, `"x`, strings.Repeat("[", 600) + strings.Repeat("]", 600)} {
		if out, _, ok := new(mask.Set).AppendJSON([]byte("before"), key, []byte(broken), []*mask.Path{pin}); ok || string(out) != "before" {
			t.Errorf("%q passed as JSON: %q", broken, out)
		}
	}
}

func TestSecretsInJSONAreHiddenAsJSON(t *testing.T) {
	in := `{"a": "x ` + token + ` y", "b": 4111111111111111, "` + token + `": ["AKIA` + `IOSFODNN7EXAMPLE"]}`
	out, masked, ok := all(mask.Redact).AppendJSON(nil, key, []byte(in), nil)
	want := `{"a": "x [redacted] y", "b": "[redacted]", "[redacted]": ["[redacted]"]}`
	if !ok || string(out) != want || masked != 4 {
		t.Errorf("got %s, %d, %v", out, masked, ok)
	}
	out, _, _ = all(mask.Null).AppendJSON(nil, key, []byte(in), nil)
	if want := `{"a": null, "b": null, "[redacted]": [null]}`; string(out) != want {
		t.Errorf("got %s", out)
	}
}

func FuzzCleanLeavesNothingToFind(f *testing.F) {
	f.Add([]byte("x " + token + card))
	f.Add([]byte(armour("PRIVATE KEY", "x") + "a@b.c"))
	set := all(mask.Redact)
	f.Fuzz(func(t *testing.T, value []byte) {
		for i := range set.Detect {
			start, end := set.Detect[i].Detector.Find(value)
			if start >= 0 && (start >= end || end > len(value)) {
				t.Fatalf("%s found %d to %d of %d", set.Detect[i].Detector, start, end, len(value))
			}
		}
		out, found, _ := set.AppendClean(nil, key, value)
		if found == 0 && !bytes.Equal(out, value) {
			t.Errorf("nothing found, but changed %q", value)
		}
		set.AppendJSON(nil, key, value, nil)
	})
}
