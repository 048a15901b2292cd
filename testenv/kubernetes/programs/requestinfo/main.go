// Command requestinfo writes what an API server makes of request lines: a line
// of JSON for each, as pkg/protocol/kubernetes compares them with its own
// reading.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// read is one line and what the server reads of it.
type read struct {
	Line        string `json:"line"`
	Error       bool   `json:"error,omitempty"`
	Resource    bool   `json:"is_resource,omitempty"`
	Verb        string `json:"verb,omitempty"`
	Group       string `json:"group,omitempty"`
	Version     string `json:"version,omitempty"`
	Of          string `json:"resource,omitempty"`
	Subresource string `json:"subresource,omitempty"`
	Namespace   string `json:"namespace,omitempty"`
	Name        string `json:"name,omitempty"`
}

func main() {
	factory := request.RequestInfoFactory{
		APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api"), // as kube-apiserver has them
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, line := range lines() {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(line + " HTTP/1.1\r\nHost: kube.lab\r\n\r\n")))
		if err != nil {
			continue // net/http never gives it to a server
		}
		info, err := factory.NewRequestInfo(r)
		if err := out.Encode(read{
			line, err != nil, info.IsResourceRequest, info.Verb, info.APIGroup, info.APIVersion, info.Resource, info.Subresource, info.Namespace, info.Name,
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

var (
	methods  = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	prefixes = []string{"/api/v1", "/apis/apps/v1", "/apis/example.com/v1alpha1"}
	places   = []string{
		"", "/", "/pods", "/pods/web", "/pods/web/log", "/pods/web/exec", "/pods/web/proxy/a/b", "/namespaces", "/namespaces/shop", "/namespaces/shop/status",
		"/namespaces/shop/finalize", "/namespaces/shop/other", "/namespaces/shop/pods", "/namespaces/shop/pods/web", "/namespaces/shop/pods/web/scale",
		"/namespaces/shop/pods/web/attach", "/namespaces/shop/services/https:web:443/proxy/x", "/namespaces/shop/pods/web/a/b", "/namespaces/shop/pods/",
		"/namespaces/shop/namespaces/other", "/nodes/n/proxy/logs/", "/watch", "/watch/pods", "/watch/namespaces/shop/secrets", "/watch/namespaces/shop/secrets/db",
		"/watch/namespaces/shop", "/proxy/nodes/n", "/proxy/namespaces/shop/pods/web",
	}
	queries = []string{
		"watch", "watch=", "watch=true", "watch=1", "watch=0", "watch=false", "watch=FALSE", "watch=t", "watch=f", "watch=no", "watch=true&watch=false",
		"watch=false&watch=true", "Watch=true", "w%61tch=true", "watch=tr%75e", "watch=true;", "a;watch=true", "watch=%zz", "%zz&watch=1", "fieldSelector=metadata.name%3Ddb",
		"fieldSelector=metadata.name=db", "fieldSelector=metadata.name==db", "fieldSelector=metadata.name!=db", "fieldSelector=metadata.name%3Ddb,status.phase%3DRunning",
		"fieldSelector=status.phase%3DRunning%2Cmetadata.name%3Ddb", "fieldSelector=metadata.name%3Ddb%2Cmetadata.name%3Dother", "fieldSelector=metadata.name%3D",
		"fieldSelector=metadata.name%3D..", "fieldSelector=metadata.name%3Da%2Fb", "fieldSelector=x%5C%2Cmetadata.name%3Ddb", "fieldSelector=metadata.name%3Da%5C%2Cb",
		"fieldSelector=metadata.name%3Ddb&fieldSelector=metadata.name%3Dother", "fieldSelector=+metadata.name%3Ddb", "fieldSelector=metadata.namespace%3Dx", "fieldSelector=,",
		"fieldSelector=metadata.name", "labelSelector=a%3Db", "resourceVersion=0&watch=1", "limit=500&continue=x", "timeoutSeconds=abc&watch=1", "timeoutSeconds=abc&fieldSelector=metadata.name%3Ddb",
		"watch=1&fieldSelector=metadata.name%3Ddb", "dryRun=All", "resourceVersion=1&resourceVersion=2", "limit=x", "allowWatchBookmarks=maybe&watch=0",
	}
	odd = []string{
		"/api", "/apis", "/api/", "/apis/apps", "/apis/apps/", "/apis/apps/v1/", "/version", "/healthz", "/healthz/ping", "/livez", "/readyz", "/openapi/v2", "/openapi/v3/apis/apps/v1",
		"/metrics", "/logs/", "/.well-known/openid-configuration", "/", "//", "/api/v1/%73ecrets", "/api/v1/secrets%2Fdb", "/api/v1/secrets/..%2f", "/api/v1//secrets", "//api/v1/secrets",
		"/api//v1/secrets", "/api/v1/namespaces//secrets", "/api/v1/namespaces/x/secrets/..", "/api/v1/namespaces/x/../y/secrets", "/api/v1/./secrets", "/api/v1/secrets/.", "/api/v1/secrets/%2e%2e",
		"/api/v1/secrets;x=1", "/api/v1/secrets;/db", "/api/v1/secrets%3Bx", "/api/v1/secrets%00", "/api/v1/secrets%0a", "/api/v1/secrets/%25", "/api/v1/secrets%5cdb", "/API/v1/secrets", "/Apis/apps/v1/x",
		"/api/V1/secrets", "/api/v1/Secrets", "/api/v1/SECRETS/db", "/api/v1/secrets/DB", "/api/v1/namespaces/Shop/secrets", "/api/v1/secrets/system:x", "/api/v1/secrets/a%20b", "/api/v1/secrets/a+b",
		"/api/v1/secrets/%c3%a9", "/api/v1/secrets/%ff", "/api/v1/secr%65ts", "/api/v1/secrets%", "/api/v1/secrets/%zz", "/apis/apps/v1/namespaces/x/status", "/apis/x/v1/namespaces/y/finalize/z",
		"/api/v1/namespaces/x/pods/y/portforward", "/api/v1/namespaces/x/serviceaccounts/y/token", "/api/v1/namespaces/x/pods/y/eviction", "/api/v1/namespaces/x/bindings", "/api/v1/watch/watch/pods",
		"/api/v1/watch/proxy/pods", "/api/v1/proxy", "/api/v1/namespaces/watch/pods", "/api/v1/namespaces/proxy/pods", "/api/v1/namespaces/status", "/api/v1/namespaces/status/pods", "/api/v1/namespaces/x/watch/pods",
		"/apis/watch/v1/pods", "/apis/apps/watch/pods", "/apis/apps/v1beta1/watch/deployments", "/k8s/clusters/c/api/v1/secrets", "/api/v1/namespaces/x/pods/y/exec/", "/api/v1/nodes/n/proxy", "/api/v1/nodes/n:10250/proxy/pods",
		"/api/v1/namespaces/x/pods/https:y:8443/proxy/", "/api/v1/namespaces/x/services/a:b:c:d/proxy", "/api/v1/secrets/" + strings.Repeat("a", 300), "/apis/a.b.c/v1/d/e/f", "/apis/-/v1/x", "/api/v1/a_b", "/api/v1/*", "/api/v1/pods/*",
	}
)

// lines are all request lines.
func lines() (all []string) {
	for _, method := range methods {
		for _, prefix := range prefixes {
			for _, place := range places {
				all = append(all, method+" "+prefix+place)
			}
		}
	}
	for _, query := range queries {
		for _, path := range []string{"/api/v1/secrets", "/api/v1/namespaces/shop/secrets", "/api/v1/namespaces/shop/secrets/db", "/version"} {
			for _, method := range []string{"GET", "DELETE"} {
				all = append(all, method+" "+path+"?"+query)
			}
		}
	}
	for _, path := range odd {
		for _, method := range []string{"GET", "POST"} {
			all = append(all, method+" "+path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
