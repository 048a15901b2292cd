package git

import (
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/httpproxy"
)

// target is what a request of the smart protocol is about.
type target struct {
	repository string // the path, as the client wrote it and the server gets it
	service    gitwire.Service
	asks       bool // for the service's advertisement; else it uses the service
}

// services are those that HTTP has.
var services = []gitwire.Service{gitwire.UploadPack, gitwire.ReceivePack}

// targetOf reads a request target. It reports false for what is not exactly one
// of the four that clients of the smart protocol ask for, and for a path that two
// servers could take for two repositories.
func targetOf(r *http.Request) (target, bool) {
	if !plainPath(r) {
		return target{}, false
	}
	if repository, found := strings.CutSuffix(r.URL.Path, "/info/refs"); found {
		name, said := strings.CutPrefix(r.URL.RawQuery, "service=")
		t := target{repository: repository, service: gitwire.Service(name), asks: true}
		return t, said && repository != "" && r.Method == http.MethodGet && slices.Contains(services, t.service)
	}
	t := target{repository: path.Dir(r.URL.Path), service: gitwire.Service(path.Base(r.URL.Path))}
	return t, t.repository != "/" && r.Method == http.MethodPost && r.URL.RawQuery == "" && slices.Contains(services, t.service)
}

// plainPath reports whether a path can be read in one way, and has no slash at its
// end.
func plainPath(r *http.Request) bool {
	p, certain := httpproxy.ReadPath(r.URL.EscapedPath())
	return certain && path.Clean(p) == p
}
