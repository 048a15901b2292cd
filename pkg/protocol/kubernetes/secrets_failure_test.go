package kubernetes

import (
	"strings"
	"testing"
)

// The server's own words, as kube-apiserver 1.33 says them of a merge patch.
const quoting = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":" \"\" is invalid: patch: Invalid value: \"{\\\"data\\\":{\\\"password\\\":\\\"Y2FuYXJ5\\\"},\\\"kind\\\":\\\"Secret\\\",\\\"type\\\":7}\": json: cannot unmarshal number",` +
	`"reason":"Invalid","details":{"causes":[{"reason":"FieldValueInvalid","message":"Invalid value: \"Y2FuYXJ5\"","field":"patch"}]},"code":422}`

func TestFailureQuotesNothingThatIsMasked(t *testing.T) {
	out, hidden, err := quiet([]byte(quoting))
	if err != nil || hidden != 1 || strings.Contains(string(out), "Y2FuYXJ5") {
		t.Fatalf("%s, %d, %v", out, hidden, err)
	}
	for _, want := range []string{`"reason":"Invalid"`, `"code":422`, `it is about patch`, `"field":"patch"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%s is not in %s", want, out)
		}
	}
	const plain = `{"kind":"Status","status":"Failure","message":"secrets \"x\" not found","reason":"NotFound","code":404}`
	if out, hidden, err := quiet([]byte(plain)); err != nil || hidden != 0 || string(out) != plain {
		t.Errorf("%s, %d, %v", out, hidden, err)
	}
	for _, odd := range []string{`{"kind":"Secret","data":{"a":"Y2FuYXJ5"}}`, `"Y2FuYXJ5"`, `[]`, `{"kind":"Status"`} {
		if out, _, err := quiet([]byte(odd)); err == nil || out != nil {
			t.Errorf("%s became %s", odd, out)
		}
	}
	// Neither an empty reason nor one that nobody knows lets words through.
	for _, reason := range []string{"", "BadRequest", "InternalError", "Other"} {
		out, _, err := quiet([]byte(strings.Replace(quoting, `"Invalid","details"`, `"`+reason+`","details"`, 1)))
		if err != nil || strings.Contains(string(out), "Y2FuYXJ5") {
			t.Errorf("%q: %s, %v", reason, out, err)
		}
	}
}
