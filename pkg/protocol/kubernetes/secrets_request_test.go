package kubernetes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
)

// TestRecordedRequestTellsNoSecret writes a Secret in every way that there is,
// and looks at what would be recorded and at what would be forwarded.
func TestRecordedRequestTellsNoSecret(t *testing.T) {
	const one, all = "/api/v1/namespaces/shop/secrets/db", "/api/v1/namespaces/shop/secrets"
	text, _ := json.Marshal(secret(isSecret))
	for name, test := range map[string]struct{ line, contentType, body string }{
		"create":             {"POST " + all, "application/json", secret(isSecret)},
		"create untyped":     {"POST " + all, "", secret()},
		"create in YAML":     {"POST " + all, "application/yaml", "kind: Secret\nstringData: {p: " + canary + "}"},
		"create in protobuf": {"POST " + all, protobufType, "k8s\x00" + canary},
		"update":             {"PUT " + one, "application/json", secret(isSecret)},
		"merge patch":        {"PATCH " + one, "application/merge-patch+json", `{"data":{"p":"` + inBase64 + `"}}`},
		"strategic patch":    {"PATCH " + one, "application/strategic-merge-patch+json", `{"stringData":{"p":"` + canary + `"}}`},
		"JSON patch":         {"PATCH " + one, "application/json-patch+json", `[{"op":"add","path":"/data/p","value":"` + inBase64 + `"}]`},
		"apply":              {"PATCH " + one, "application/apply-patch+yaml", secret(isSecret)},
		"apply in YAML":      {"PATCH " + one, "application/apply-patch+yaml", "stringData: {p: " + canary + "}"},
		"embedded":           {"POST /apis/example.com/v1/widgets", "application/json", `{"metadata":{"name":"w"},"spec":{"t":` + string(text) + `}}`},
		"embedded in YAML":   {"POST /apis/example.com/v1/widgets", "application/yaml", "spec:\n  kind: Secret\n  stringData: {p: " + canary + "}"},
		"broken":             {"PUT " + one, "application/json", secret(isSecret) + "x"},
	} {
		s := masking(mask.Redact, "Secret")
		op, err := asked(t, test.line, test.contentType, test.body)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		recorded := sealed(s.conn.Masks, &op, test.contentType, s.seal)
		if found := leaks(recorded.Reveal()); found != "" || !strings.Contains(string(recorded.Reveal()), "[sealed ") {
			t.Errorf("%s: leaks %q: %s", name, found, recorded.Reveal())
		}
		if !strings.HasSuffix(string(op.Bytes), test.body) || string(op.HTTP.Body.Reveal()) != test.body {
			t.Errorf("%s: the approval binds %s", name, op.Bytes)
		}
	}
}

func TestWhatHidesNothingIsRecordedAsItIs(t *testing.T) {
	for _, body := range []string{`{"kind":"ConfigMap","metadata":{"name":"a"},"data":{"a":"b"}}`, "kind: ConfigMap"} {
		s := masking(mask.Redact, "Secret")
		op, err := asked(t, "POST /api/v1/namespaces/shop/configmaps?pretty=true", "application/yaml", body)
		if err != nil {
			t.Fatal(err)
		}
		want := "POST /api/v1/namespaces/shop/configmaps?pretty=true\nContent-Type: application/yaml\n\n" + body
		if got := sealed(s.conn.Masks, &op, "application/yaml", s.seal); string(got.Reveal()) != want {
			t.Errorf("got %s, want %s", got.Reveal(), want)
		}
	}
}

func TestSecretsOfACommandLineAreNotRecorded(t *testing.T) {
	const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"
	s := masking(mask.Redact)
	s.conn.Masks.Detect = []mask.Detection{{Detector: mask.GitHubToken, Mask: "m", Method: mask.Redact}}
	for _, written := range []string{token, "%67hp_" + token[4:]} {
		op, err := asked(t, "POST /api/v1/namespaces/shop/pods/web/exec?command=git&command="+written, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if got := string(sealed(s.conn.Masks, &op, "", s.seal).Reveal()); !strings.HasPrefix(got, "POST /api/v1/namespaces/shop/pods/web/exec?[sealed ") {
			t.Errorf("got %s", got)
		}
	}
}

func TestJSONPatchCannotCarryASecretAway(t *testing.T) {
	const one, kind = "PATCH /api/v1/namespaces/shop/secrets/db", "application/json-patch+json"
	for _, test := range []struct {
		patch   string
		refused bool
	}{
		{`[{"op":"copy","from":"/data/p","path":"/metadata/labels/p"}]`, true},
		{`[{"op":"move","from":"/data","path":"/metadata/annotations"}]`, true},
		{`[{"op":"copy","from":"","path":"/metadata/annotations/x"}]`, true},
		{`[{"op":"copy","from":"/metadata/annotations","path":"/metadata/labels"}]`, true},
		{`[{"op":"test","path":"/data/p","value":"eA=="}]`, true},
		{`[{"op":"add","op":"copy","from":"/data/p","path":"/metadata/labels/p"}]`, true},
		{`[{"op":"add","Op":"copy","path":"/metadata/labels/p","value":"a"}]`, true},
		{`[{"op":"add","from":"/data/p","path":"/metadata/labels/p"}]`, true},
		{`{"op":"add"}`, true},
		{`x`, true},
		{`[{"op":"test","path":"/metadata/resourceVersion","value":"7"},{"op":"replace","path":"/data/p","value":"eA=="},{"op":"remove","path":"/data/q"}]`, false},
		{`[{"op":"copy","from":"/metadata/labels/a","path":"/metadata/labels/b"}]`, false},
	} {
		for _, contentType := range []string{kind, "Application/JSON-Patch+json; charset=utf-8"} {
			op, err := asked(t, one, contentType, test.patch)
			if err != nil {
				t.Fatal(err)
			}
			if err := admitted(masking(mask.Redact, "Secret").conn.Masks, op.Kube, contentType, []byte(test.patch)); (err != nil) != test.refused {
				t.Errorf("%s: %v", test.patch, err)
			}
			if err := admitted(masking(mask.Redact, "ConfigMap").conn.Masks, op.Kube, contentType, []byte(test.patch)); err != nil {
				t.Errorf("%s without a mask: %v", test.patch, err)
			}
		}
	}
}

func TestMaskedValuesAreNotWrittenBack(t *testing.T) {
	for _, method := range []mask.Method{mask.Redact, mask.Partial} {
		s := masking(method, "Secret")
		read, _, err := s.document(&aboutSecrets)([]byte(secret(isSecret)))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"PUT /api/v1/namespaces/shop/secrets/db", "POST /api/v1/namespaces/other/secrets"} {
			op, err := asked(t, line, "application/json", string(read))
			if err != nil {
				t.Fatal(err)
			}
			if err := admitted(s.conn.Masks, op.Kube, "application/json", read); err == nil {
				t.Errorf("%s of %s would destroy the secret", line, read)
			}
		}
		fresh := fmt.Sprintf(`{"data":{"p":%q}}`, inBase64)
		op, err := asked(t, "PUT /api/v1/namespaces/shop/secrets/db", "application/json", fresh)
		if err != nil {
			t.Fatal(err)
		}
		if err := admitted(s.conn.Masks, op.Kube, "application/json", []byte(fresh)); err != nil {
			t.Errorf("a new value: %v", err)
		}
	}
}
