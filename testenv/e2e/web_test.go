package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// webState asks the API itself, around the agent, what became of it.
func webState(t *testing.T) string {
	t.Helper()
	r := run("admin", "web", "--", "curl", "-sS", "https://web.lab/v1/state")
	if r.code != 0 || !strings.Contains(r.out, "releases") {
		t.Fatalf("admin web: %s", r.all())
	}
	return r.out
}

// webLog is the API's own log from an offset on.
func webLog(t *testing.T, from int) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(lab.dir, "web.log"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text[from:])
}

// webSession waits for the session of a job that spoke to the API.
func webSession(t *testing.T, began time.Time, resource string) sessionView {
	t.Helper()
	return newest(t, began, func(s sessionView) bool { return s.Resource == resource && s.Operations > 0 })
}

// urllib asks for the customers as Python's own library does.
const urllib = `python3 - <<'EOF'
import ssl, urllib.request
trust = ssl.create_default_context(cafile="/run/sluice/ca.pem")
print(urllib.request.urlopen("https://web.lab/v1/customers", context=trust).read().decode())
EOF
`

func TestAPIsAnswerIsMaskedForEveryClient(t *testing.T) {
	for _, test := range []struct{ name, script, resource, client string }{
		{"HTTP/1.1", curl + " --http1.1 https://web.lab/v1/customers", "web-api", "curl"},
		{"HTTP/2", curl + " --http2 --compressed -H 'Range: bytes=0-200' https://web.lab/v1/customers", "web-api", "curl"},
		{"Python", urllib, "web-api", "Python-urllib"},
		{"no TLS", "curl -sS http://web.lab/v1/customers", "web-plain", "HTTP/1.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			began, at := time.Now(), len(webLog(t, 0))
			r := kubeScript(test.script + "\n")
			contains(t, r.out, "Ada Example", `"email":"[redacted]"`, `"ssn":"[redacted]"`)
			lacks(t, r.all(), "ada@example.com", "219-09-9999")
			s := webSession(t, began, test.resource)
			if s.Protocol != "web" || s.Masked != 4 || s.Assurance != "A3" {
				t.Errorf("got %+v", s)
			}
			contains(t, webLog(t, at), "GET /v1/customers", test.client, "sluice/"+s.ID)
			contains(t, ctl(t, "show", s.ID), "log in as deployer", "GET /v1/customers")
			contains(t, ctl(t, "replay", s.ID), "200 OK", "Ada Example", "[redacted]")
			nowhere(t, s, "ada@example.com", "219-09-9999")
		})
	}
	contains(t, run("admin", "web", "--", "curl", "-sS", "https://web.lab/v1/customers").out, "ada@example.com")
}

func TestReleaseIsNotDeleted(t *testing.T) {
	began, at := time.Now(), len(webLog(t, 0))
	r := kubeScript(curl + " -i --http1.1 -X DELETE https://web.lab/v1/releases/1\n" +
		curl + " -H 'Accept: application/json' -X DELETE https://web.lab/v1/releases/1\n" +
		curl + " -H 'X-HTTP-Method-Override: DELETE' -X POST https://web.lab/v1/releases/1\n" +
		curl + " --path-as-is -X DELETE https://web.lab/v1//releases/1\n" +
		curl + " --path-as-is -X DELETE https://web.lab/v1/x/../releases/1\n" +
		curl + " -X DELETE https://web.lab/v1/%72eleases/1\n")
	contains(t, r.out, "HTTP/1.1 403", `sluice: refused by rule "releases-stay": A release is not for pipelines to delete.`, "Sluice-Rule: releases-stay",
		`"rule":"releases-stay"`, `rule "unparsed"`)
	contains(t, webState(t), `"1":true`)
	lacks(t, webLog(t, at), "DELETE")
	if s := newest(t, began, func(s sessionView) bool { return s.Resource == "web-api" && s.Denied > 0 }); s.Denied != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestDeploymentWaitsForAPerson(t *testing.T) {
	for _, answer := range []string{"approve", "deny"} {
		began, at := time.Now(), len(webLog(t, 0))
		job, said := labCommand("job", "--", "sh", "-c", curl+` -i -d '{"to":"prod","by":"`+answer+`"}' -H 'Content-Type: application/json' https://web.lab/v1/deployments`), &transcript{}
		job.Stdout, job.Stderr = said, said
		if err := job.Start(); err != nil {
			t.Fatal(err)
		}
		number := webApproval(t)
		lacks(t, webLog(t, at), "/v1/deployments")
		contains(t, ctl(t, "approvals", "show", number), "POST /v1/deployments", "Host: web.lab", `"to":"prod"`)
		args := []string{"approvals", answer, number}
		if answer == "deny" {
			args = append(args, "--reason", "Not on a Friday")
		}
		ctl(t, args...)
		if err := job.Wait(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		if answer == "approve" {
			contains(t, said.String(), "HTTP/2 202", "approved by approver", "deploying")
			contains(t, webLog(t, at), "POST /v1/deployments")
		} else {
			contains(t, said.String(), "HTTP/2 403", "sluice-rule: deployments-need-a-person", "Not on a Friday")
			lacks(t, webLog(t, at), "/v1/deployments")
		}
		if s := webSession(t, began, "web-api"); s.Held != 1 {
			t.Errorf("got %+v", s)
		}
	}
	contains(t, webState(t), "approve")
}

// webApproval waits for the approval that somebody asks for now.
func webApproval(t *testing.T) (number string) {
	t.Helper()
	eventually(t, "an approval is asked for", func() bool {
		var pending []struct {
			Number   int
			Resource string
		}
		if err := json.Unmarshal([]byte(ctl(t, "approvals", "--json")), &pending); err != nil {
			t.Fatal(err)
		}
		for _, p := range pending {
			if p.Resource == "web-api" {
				number = strconv.Itoa(p.Number)
			}
		}
		return number != ""
	})
	return number
}

// TestAPIsCredentialAndTheJobsStayOnTheirLegs has the API show what it got.
func TestAPIsCredentialAndTheJobsStayOnTheirLegs(t *testing.T) {
	theirs := kubeSecret(t, "web")
	const own = "a-login-of-the-jobs-own"
	began := time.Now()
	r := kubeScript("cat >/tmp/fields <<'EOF'\nAuthorization: Bearer " + own + "\nX-Api-Key: " + own + "\nCookie: a=" + own + "\nX-Forwarded-User: admin\nEOF\n" +
		curl + " -v -H @/tmp/fields https://web.lab/v1/echo\ncurl -sS -v -H @/tmp/fields http://web.lab/v1/echo\n" +
		curl + " -X TRACE -H @/tmp/fields https://web.lab/v1/echo\nrm /tmp/fields\n")
	contains(t, r.out, "Bearer ****", `"X-Api-Key":["****`, "this method is not served")
	lacks(t, r.all(), theirs, "set-cookie", "Set-Cookie", "of-the-agent")
	lacks(t, r.out, own, "admin")
	for _, resource := range []string{"web-api", "web-plain"} {
		nowhere(t, webSession(t, began, resource), theirs, own, "of-the-agent")
	}
}

// TestAPIThatIsAskedWithoutTLSSaysSo where it has TLS, and one whose certificate
// nobody believes is not asked.
func TestAPIThatIsAskedWithoutTLSSaysSo(t *testing.T) {
	contains(t, kubeScript("curl -sS http://web.lab:443/v1/customers\n").out, "write https")
	r := kubeScript("curl -sS https://web.lab/v1/customers\n")
	contains(t, r.errs, "SSL certificate problem")
	lacks(t, r.all(), "Ada")
}

// TestArtefactsGoBothWays has curl send a file and get it again, of a size that
// nobody holds. One that it leaves in its middle is none.
func TestArtefactsGoBothWays(t *testing.T) {
	withResources(t, func(resources []map[string]any) []map[string]any {
		for _, r := range resources {
			if r["name"] == "web-api" {
				files := maps.Clone(r)
				files["name"], files["port"] = "artefacts", 8443
				return append(resources, files)
			}
		}
		return nil
	})
	began, at := time.Now(), len(webLog(t, 0))
	r := kubeScript("cd /tmp && head -c 67108864 /dev/urandom >artefact && sha256sum <artefact\n" +
		curl + " --http1.1 -w '%{http_code} ' -T artefact https://web.lab:8443/v1/files/a\n" +
		curl + " --http2 -w '%{http_code} ' -T - https://web.lab:8443/v1/files/b <artefact\n" +
		curl + " --http1.1 -o back -w '%{http_code} ' https://web.lab:8443/v1/files/b && cmp artefact back\n" +
		curl + " --http2 -o back -w '%{http_code}\\n' https://web.lab:8443/v1/files/a && cmp artefact back\n" +
		"timeout 2 " + curl + " --limit-rate 4M -T artefact https://web.lab:8443/v1/files/c\n" +
		curl + " --http1.1 -w '%{http_code}' -H 'Content-Type: application/octet-stream' --data-binary @artefact https://web.lab/v1/deployments\n")
	digest, rest, _ := strings.Cut(r.out, " ")
	contains(t, rest, "201 201 200 200\n", "larger than 4 MiB, and a mask", "413")
	lacks(t, r.all(), "differ")
	contains(t, webLog(t, at), "PUT /v1/files/a 67108864 bytes, <nil>", "PUT /v1/files/b 67108864 bytes, <nil>", "unexpected EOF")
	eventually(t, "every request is in the record", func() bool {
		var all []sessionView
		if err := json.Unmarshal([]byte(ctl(t, "sessions", "--json", "--limit", "20")), &all); err != nil {
			t.Fatal(err)
		}
		said := ""
		for _, s := range all {
			if s.Resource == "artefacts" && s.Started.After(began) {
				said += ctl(t, "show", s.ID)
			}
		}
		return strings.Count(said, "sent 67108864 bytes, sha256:"+digest) == 2 && strings.Contains(said, ", cut off")
	})
	ctl(t, "verify")
}
