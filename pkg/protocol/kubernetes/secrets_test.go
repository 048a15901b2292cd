package kubernetes

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// canary is what must not get out, in no encoding.
const canary = "canary-of-a-password-42"

var inBase64 = base64.StdEncoding.EncodeToString([]byte(canary))

// spellings are all forms in which the canary is looked for.
func spellings() (all []string) {
	all = append(all, canary, hex.EncodeToString([]byte(canary)), url.QueryEscape(canary))
	for shift := range 3 { // base64 of it, wherever it stands in what was encoded
		encoded := base64.StdEncoding.EncodeToString(append(make([]byte, shift), canary...))
		all = append(all, encoded[4:len(encoded)-4])
	}
	return all
}

func leaks(out []byte) string {
	for _, text := range []string{string(out), strings.ReplaceAll(string(out), `\`, "")} {
		for _, spelled := range spellings() {
			if strings.Contains(text, spelled) {
				return spelled
			}
		}
	}
	return ""
}

func masking(method mask.Method, kinds ...string) *session {
	masks := &mask.Set{}
	for _, kind := range kinds {
		masks.Kinds = append(masks.Kinds, mask.Kind{Kind: kind, Mask: "m", Method: method})
	}
	return &session{conn: &protocol.Conn{Masks: masks, MaskKey: []byte("key")}}
}

// secret is a Secret as an API server writes it, with the canary wherever one
// of those has it.
func secret(members ...string) string {
	applied, _ := json.Marshal(fmt.Sprintf(`{"apiVersion":"v1","data":{"p":%q},"kind":"Secret","metadata":{"annotations":{},"name":"db"}}`, inBase64))
	return fmt.Sprintf(`{%s"apiVersion":"v1","metadata":{"name":"db","annotations":{%q:%s}},"data":{"p":%q},"stringData":{"q":%q},"type":"Opaque"}`,
		strings.Join(members, ""), lastApplied, applied, inBase64, canary)
}

const isSecret = `"kind":"Secret",`

var aboutSecrets = operation.Kube{Verb: "get", Version: "v1", Resource: "secrets", Namespace: "shop"}

func TestNoFormOfAnAnswerTellsASecret(t *testing.T) {
	quoted, _ := json.Marshal(secret(isSecret))
	twice, _ := json.Marshal(fmt.Sprintf(`{"kind":"X","inner":%s}`, quoted))
	elsewhere := operation.Kube{Verb: "get", Group: "example.com", Version: "v1", Resource: "widgets"}
	for name, test := range map[string]struct {
		kube     operation.Kube
		document string
	}{
		"one":                        {aboutSecrets, secret(isSecret)},
		"one without a kind":         {aboutSecrets, secret()},
		"one elsewhere":              {elsewhere, secret(isSecret)},
		"kind behind":                {elsewhere, secret()[:len(secret())-1] + `,"kind":"Secret"}`},
		"kind twice":                 {elsewhere, secret(isSecret, `"kind":"Other",`)},
		"kind twice the other way":   {elsewhere, secret(`"kind":"Other",`, isSecret)},
		"escaped kind":               {elsewhere, secret(`"k\u0069nd":"Secr\u0065t",`)},
		"escaped data":               {elsewhere, strings.Replace(secret(isSecret), `"data"`, `"d\u0061ta"`, 1)},
		"data twice":                 {elsewhere, strings.Replace(secret(isSecret), `"type"`, `"data":{"r":"`+inBase64+`"},"type"`, 1)},
		"list":                       {aboutSecrets, `{"kind":"SecretList","items":[` + secret() + `,` + secret() + `]}`},
		"list elsewhere":             {elsewhere, `{"items":[` + secret() + `],"kind":"SecretList"}`},
		"list of all":                {elsewhere, `{"kind":"List","items":[` + secret(isSecret) + `,{"kind":"ConfigMap"}]}`},
		"event":                      {aboutSecrets, `{"type":"ADDED","object":` + secret(isSecret) + `}`},
		"event without a kind":       {aboutSecrets, `{"type":"ADDED","object":` + secret() + `}`},
		"table":                      {aboutSecrets, `{"kind":"Table","rows":[{"cells":["db",1],"object":` + secret(isSecret) + `}]}`},
		"table without kinds":        {aboutSecrets, `{"kind":"Table","rows":[{"cells":["db",1],"object":` + secret() + `}]}`},
		"event of a table":           {aboutSecrets, `{"type":"ADDED","object":{"kind":"Table","rows":[{"object":` + secret() + `}]}}`},
		"metadata alone":             {aboutSecrets, strings.Replace(secret(`"kind":"PartialObjectMetadata",`), `"data":{"p":"`+inBase64+`"},"stringData":{"q":"`+canary+`"},`, "", 1)},
		"metadata of all":            {aboutSecrets, `{"kind":"PartialObjectMetadataList","items":[` + strings.Replace(secret(), `"data":{"p":"`+inBase64+`"},"stringData":{"q":"`+canary+`"},`, "", 1) + `]}`},
		"an embedded one":            {elsewhere, `{"kind":"Widget","spec":{"template":[[` + secret(isSecret) + `]]}}`},
		"as text":                    {elsewhere, `{"kind":"Widget","spec":{"template":` + string(quoted) + `}}`},
		"as text in text":            {elsewhere, `{"kind":"Widget","spec":{"template":` + string(twice) + `}}`},
		"data that is a list":        {elsewhere, `{"kind":"Secret","data":["` + inBase64 + `",{"a":"` + canary + `"}]}`},
		"data that is a string":      {elsewhere, `{"kind":"Secret","data":"` + inBase64 + `"}`},
		"binary data":                {aboutSecrets, `{"kind":"Secret","data":{"p":"` + base64.StdEncoding.EncodeToString([]byte("\x00\xff"+canary)) + `"}}`},
		"broken annotation":          {aboutSecrets, `{"kind":"Secret","metadata":{"annotations":{"` + lastApplied + `":"{` + canary + `"}}}`},
		"pretty":                     {aboutSecrets, "{\n  \"kind\": \"Secret\" ,\n \"data\" : {\n  \"p\" : \"" + inBase64 + "\"\n }\n}\n"},
		"deep":                       {elsewhere, strings.Repeat(`{"a":[`, 4000) + secret(isSecret) + strings.Repeat(`]}`, 4000)},
		"an error that repeats it":   {aboutSecrets, `{"kind":"Status","status":"Failure","message":"data: Invalid value: \"` + canary + `\"","reason":"Invalid","code":422}`},
		"an error without a reason":  {aboutSecrets, `{"status":"Failure","message":"x ` + inBase64 + `","kind":"Status"}`},
		"causes that repeat it":      {aboutSecrets, `{"kind":"Status","reason":"BadRequest","details":{"causes":[{"message":"` + inBase64 + `","reason":"NotFound"}]}}`},
		"an error of what embeds it": {elsewhere, `{"kind":"Status","reason":"Invalid","message":"patch: Invalid value: \"{\\\"kind\\\":\\\"Secret\\\",\\\"data\\\":{\\\"p\\\":\\\"` + inBase64 + `\\\"}}\""}`},
		"with a status of the patch": {aboutSecrets, `{"kind":"Status","details":{"causes":[` + secret(isSecret) + `]}}`},
	} {
		for _, method := range []mask.Method{mask.Redact, mask.Null, mask.Hash, mask.Partial} {
			out, masked, err := masking(method, "Secret").document(&test.kube)([]byte(test.document))
			if err != nil || masked == 0 || leaks(out) != "" {
				t.Errorf("%s, %s: %d masked, error %v, leaks %q: %s", name, method, masked, err, leaks(out), out)
			}
			if !json.Valid(out) {
				t.Errorf("%s, %s: no JSON: %s", name, method, out)
			}
		}
	}
}

func TestMaskedSecretIsOneThatClientsRead(t *testing.T) {
	out, masked, err := masking(mask.Redact, "Secret").document(&aboutSecrets)([]byte(secret(isSecret)))
	if err != nil || masked != 3 {
		t.Fatalf("%d masked, error %v", masked, err)
	}
	var read struct {
		Metadata   struct{ Annotations map[string]string }
		Data       map[string][]byte
		StringData map[string]string
	}
	if err := json.Unmarshal(out, &read); err != nil || string(read.Data["p"]) != "[redacted]" || read.StringData["q"] != "[redacted]" {
		t.Errorf("%v: %s", err, out)
	}
	var applied struct{ Data map[string][]byte }
	if err := json.Unmarshal([]byte(read.Metadata.Annotations[lastApplied]), &applied); err != nil || string(applied.Data["p"]) != "[redacted]" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAllElseStaysByteForByte(t *testing.T) {
	for _, document := range []string{
		`{"kind":"Pod","spec":{"n":1e400,"m":123456789012345678901234567890.00,"u":"\u00e9\/\ud800"} , "a" : [ ] }` + "\n",
		`{"kind":"Secret","data":{},"stringData":null,"type":"Opaque","immutable":true}`,
		`{"kind":"ConfigMap","data":{"kind":"Secret"}}`,
		` [1, -0.0e-7 , null,true ]`,
		`"Secret"`,
	} {
		out, masked, err := masking(mask.Redact, "Secret").document(&operation.Kube{Resource: "pods"})([]byte(document))
		if err != nil || masked != 0 || string(out) != document {
			t.Errorf("%d masked, error %v: got %s, want %s", masked, err, out, document)
		}
	}
}

func TestDocumentsThatCannotBeReadAreRefused(t *testing.T) {
	for name, document := range map[string][]byte{
		"cut": []byte(secret(isSecret)[:90]), "none": nil, "two": []byte(secret(isSecret) + secret(isSecret)), "YAML": []byte("kind: Secret\ndata: {p: x}"),
		"too deep": bytes.Repeat([]byte("["), 20000), "protobuf": append([]byte("k8s\x00"), "Secret"...), "too long": bytes.Repeat([]byte(" "), maxDocument+1),
		"too many": fmt.Appendf(nil, `{"kind":"Secret","data":[%s{}]}`, strings.Repeat("{},", maxObjects)),
	} {
		if out, _, err := masking(mask.Redact, "Secret").document(&aboutSecrets)(document); err == nil {
			t.Errorf("%s: passed as %.80s", name, out)
		}
	}
}

func TestErrorsThatRepeatNothingAreShown(t *testing.T) {
	for _, document := range []string{
		`{"kind":"Status","status":"Failure","message":"secrets \"db\" not found","reason":"NotFound","code":404}`,
		`{"kind":"Status","status":"Failure","message":"Apply failed with 1 conflict: conflict with \"ci\": .data.p","reason":"Conflict","details":{"causes":[{"message":"conflict with \"ci\"","field":".data.p"}]}}`,
		`{"type":"ERROR","object":{"kind":"Status","message":"too old resource version","reason":"Expired"}}`,
	} {
		if out, masked, err := masking(mask.Redact, "Secret").document(&aboutSecrets)([]byte(document)); err != nil || masked != 0 || string(out) != document {
			t.Errorf("%d masked, error %v: %s became %s", masked, err, document, out)
		}
	}
	const pods = `{"kind":"Status","status":"Failure","message":"Pod \"x\" is invalid: spec.containers: Required value","reason":"Invalid"}`
	if out, _, err := masking(mask.Redact, "Secret").document(&operation.Kube{Resource: "pods"})([]byte(pods)); err != nil || string(out) != pods {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOtherKindsHideWhatIsTheirOwn(t *testing.T) {
	for _, test := range []struct{ kind, document, want string }{
		{
			"TokenRequest", `{"kind":"TokenRequest","spec":{"audiences":["a"]},"status":{"token":"t","expirationTimestamp":"2026-01-01T00:00:00Z"}}`,
			`{"kind":"TokenRequest","spec":{"audiences":["a"]},"status":{"token":"[redacted]","expirationTimestamp":"2026-01-01T00:00:00Z"}}`,
		},
		{"ConfigMap", `{"kind":"ConfigMap","data":{"a":"b"},"binaryData":{"c":"ZA=="}}`, `{"kind":"ConfigMap","data":{"a":"[redacted]"},"binaryData":{"c":"W3JlZGFjdGVkXQ=="}}`},
		{
			"Widget", `{"kind":"Widget","apiVersion":"v1","metadata":{"name":"w"},"spec":{"a":["b",7,true,null]},"extra":"c"}`,
			`{"kind":"Widget","apiVersion":"v1","metadata":{"name":"w"},"spec":{"a":["[redacted]",null,null,null]},"extra":"[redacted]"}`,
		},
	} {
		out, _, err := masking(mask.Redact, test.kind).document(&operation.Kube{Group: "example.com"})([]byte(test.document))
		if err != nil || string(out) != test.want {
			t.Errorf("%s: %v\ngot  %s\nwant %s", test.kind, err, out, test.want)
		}
	}
	for _, document := range []string{
		`{"kind":"APIResourceList","resources":[{"name":"widgets","singularName":"widget","namespaced":true,"kind":"Widget","verbs":["get","list"]}]}`,
		`{"resources":[{"resource":"widgets","responseKind":{"group":"example.com","version":"v1","kind":"Widget"},"verbs":["get"]}]}`,
		`{"kind":"Pod","metadata":{"ownerReferences":[{"apiVersion":"example.com/v1","kind":"Widget","name":"w","uid":"u","controller":true}]}}`,
		`{"kind":"CustomResourceDefinition","spec":{"names":{"plural":"widgets","kind":"Widget","listKind":"WidgetList"}}}`,
	} {
		out, masked, err := masking(mask.Redact, "Widget").document(&operation.Kube{})([]byte(document))
		if err != nil || masked != 0 || string(out) != document {
			t.Errorf("%d masked, error %v: %s became %s", masked, err, document, out)
		}
	}
	list := `{"items":[{"spec":{"p":"` + canary + `"},"metadata":{}}],"kind":"WidgetList"}`
	if out, masked, err := masking(mask.Redact, "Widget").document(&operation.Kube{})([]byte(list)); err != nil || masked != 1 || leaks(out) != "" {
		t.Errorf("%d masked, error %v: %s", masked, err, out)
	}
	token := operation.Kube{Verb: "create", Version: "v1", Resource: "serviceaccounts", Subresource: "token"}
	out, masked, err := masking(mask.Redact, "TokenRequest").document(&token)([]byte(`{"status":{"token":"` + canary + `"}}`))
	if err != nil || masked != 1 || leaks(out) != "" {
		t.Errorf("%d masked, error %v: %s", masked, err, out)
	}
}

func TestDetectorsLookIntoEveryString(t *testing.T) {
	const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB"
	s := masking(mask.Redact)
	s.conn.Masks.Detect = []mask.Detection{{Detector: mask.GitHubToken, Mask: "m", Method: mask.Redact}, {Detector: mask.CreditCard, Mask: "m", Method: mask.Redact}}
	for _, test := range []struct{ document, want string }{
		{`{"kind":"Pod","env":[{"value":"x ` + token + `"}]}`, `{"kind":"Pod","env":[{"value":"x [redacted]"}]}`},
		{`{"v":"\u0067hp` + token[3:] + `"}`, `{"v":"[redacted]"}`},
		{`{"` + token + `":1}`, `{"[redacted]":1}`},
		{`{"v":"` + base64.StdEncoding.EncodeToString([]byte("t="+token)) + `"}`, `{"v":"` + base64.StdEncoding.EncodeToString([]byte("t=[redacted]")) + `"}`},
		{`{"v":4111111111111111}`, `{"v":null}`},
	} {
		out, masked, err := s.document(&operation.Kube{})([]byte(test.document))
		if err != nil || masked != 1 || string(out) != test.want {
			t.Errorf("%d masked, error %v: got %s, want %s", masked, err, out, test.want)
		}
	}
}

func TestWhatIsNoJSONIsRefusedWhereItMayHoldObjects(t *testing.T) {
	proxied := operation.Kube{Resource: "services", Subresource: "proxy"}
	for _, test := range []struct {
		contentType, encoding string
		kube                  operation.Kube
		refused               bool
	}{
		{"application/json", "", aboutSecrets, false},
		{"application/json;stream=watch", "", aboutSecrets, false},
		{"text/plain; charset=utf-8", "", aboutSecrets, false},
		{"application/json", "gzip", aboutSecrets, true},
		{protobufType, "", aboutSecrets, true},
		{protobufType, "", proxied, true},
		{"application/yaml", "", aboutSecrets, true},
		{"application/cbor-seq", "", proxied, true},
		{"text/html", "", aboutSecrets, true},
		{"text/html", "", proxied, false},
		{"", "", aboutSecrets, true},
	} {
		answer := &http.Response{StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Type": {test.contentType}}}
		if test.encoding != "" {
			answer.Header.Set("Content-Encoding", test.encoding)
		}
		if _, err := masking(mask.Redact, "Secret").masking(&operation.Operation{Kube: &test.kube}, answer); (err != nil) != test.refused {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

func TestLogsOfHostsAreNotShownWhereObjectsAreMasked(t *testing.T) {
	answer := &http.Response{StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Type": {"text/plain"}}}
	for line, want := range map[string]bool{
		"GET /logs/kube-apiserver-audit.log": true, "GET /logs": true, "GET /api/v1/nodes/n/proxy/logs/audit.log": true, "GET /api/v1/nodes/n:10250/proxy/logs/": true,
		"GET /api/v1/nodes/proxy-1/proxy/logs/audit.log": true,
		"GET /api/v1/nodes/n/proxy/metrics":              false, "GET /metrics": false, "GET /api/v1/namespaces/shop/pods/web/log": false, "GET /api/v1/namespaces/shop/services/web/proxy/logs/": false,
	} {
		op, err := asked(t, line, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := masking(mask.Redact, "Secret").masking(&op, answer); (err != nil) != want {
			t.Errorf("%s: %v", line, err)
		}
		if _, err := masking(mask.Redact).masking(&op, answer); err != nil {
			t.Errorf("%s without a mask: %v", line, err)
		}
	}
}

func TestServerIsAskedForWhatCanBeMasked(t *testing.T) {
	kubectl := "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
	widgets := operation.Kube{Group: "example.com", Resource: "widgets"}
	for _, test := range []struct {
		s            *session
		kube         operation.Kube
		accept, want string
	}{
		{masking(mask.Redact), aboutSecrets, protobufType, protobufType},
		{masking(mask.Redact, "Secret"), aboutSecrets, kubectl, kubectl},
		{masking(mask.Redact, "Secret"), aboutSecrets, protobufType + ",application/yaml, */*", "application/json"},
		{masking(mask.Redact, "Widget"), aboutSecrets, kubectl, kubectl},
		{masking(mask.Redact, "Widget"), widgets, kubectl, "application/json"},
		{masking(mask.Redact, "Widget"), widgets, "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io,application/json"},
		{masking(mask.Redact, "Secret"), operation.Kube{Resource: "pods", Subresource: "log"}, "*/*", "*/*"},
	} {
		header := http.Header{"Accept": {test.accept}}
		accepted(test.s.conn.Masks, &operation.Operation{Kube: &test.kube}, header)
		if got := header.Get("Accept"); got != test.want {
			t.Errorf("%s of %+v: got %s, want %s", test.accept, test.kube, got, test.want)
		}
	}
}

func TestSchemaOfTheAPIPassesAsItIs(t *testing.T) {
	const asProtobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
	op, err := asked(t, "GET /openapi/v2", "", "")
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Accept": {asProtobuf}}
	s := masking(mask.Redact, "Secret")
	accepted(s.conn.Masks, &op, header)
	if header.Get("Accept") != asProtobuf {
		t.Errorf("asked for %s", header.Get("Accept"))
	}
	if masking, err := s.masking(&op, &http.Response{StatusCode: 200, ContentLength: -1, Header: http.Header{"Content-Type": {asProtobuf}}}); masking != nil || err != nil {
		t.Errorf("%v, %v", masking, err)
	}
}

// FuzzVeil masks whatever is JSON: what comes out is JSON, tells nothing, and is
// the same when it is masked once more.
func FuzzVeil(f *testing.F) {
	for _, document := range []string{
		secret(isSecret), `{"items":[` + secret() + `],"kind":"SecretList"}`, `{"type":"ADDED","object":` + secret(isSecret) + `}`, `[{"kind":"Secret","data":[1,{"a":null}]}]`,
		`{"a":"{\"kind\":\"Secret\",\"data\":{\"p\":\"` + inBase64 + `\"}}"}`, `{"k\u0069nd":"Secret","data":{"p":"x"}}`, `"x"`, `{"kind":{"kind":"Secret"},"data":"x"}`, ` { } `,
	} {
		f.Add([]byte(document), true)
		f.Add([]byte(document), false)
	}
	f.Fuzz(func(t *testing.T, document []byte, about bool) {
		kube := &operation.Kube{Resource: "pods"}
		if about {
			kube = &aboutSecrets
		}
		mask := masking(mask.Redact, "Secret").document(kube)
		out, masked, err := mask(document)
		if err != nil {
			return
		}
		if masked == 0 && !bytes.Equal(out, document) {
			t.Errorf("nothing was masked: %s became %s", document, out)
		}
		if json.Valid(document) && !json.Valid(out) {
			t.Errorf("%s became %s", document, out)
		}
		if again, _, err := mask(out); err != nil || !bytes.Equal(again, out) {
			t.Errorf("%s became %s: %v", out, again, err)
		}
	})
}

func BenchmarkDocument(b *testing.B) {
	pod := `{"kind":"Pod","metadata":{"name":"web-1","namespace":"shop","labels":{"app":"web"},"uid":"5b2f3c1e-0000-4000-8000-000000000000"},"spec":{"containers":[{"name":"app","image":"acme/web:1","env":[{"name":"A","value":"some value"}]}]}}`
	for name, item := range map[string]string{"pods": pod, "secrets": secret(isSecret)} {
		list := []byte(`{"kind":"List","items":[` + strings.Repeat(item+",", 999) + item + `]}`)
		for kind, s := range map[string]*session{"kinds": masking(mask.Redact, "Secret"), "detectors": masking(mask.Redact)} {
			if kind == "detectors" {
				s.conn.Masks.Detect = []mask.Detection{{Detector: mask.JWT, Method: mask.Redact}, {Detector: mask.PrivateKey, Method: mask.Redact}}
			}
			b.Run(name+" "+kind, func(b *testing.B) {
				b.SetBytes(int64(len(list)))
				for b.Loop() {
					if _, _, err := s.document(&operation.Kube{})(list); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
