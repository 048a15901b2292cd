package broker

import (
	"errors"
	"os"
	"slices"

	"github.com/sluicegate/sluice/pkg/credential"
	"github.com/sluicegate/sluice/pkg/identity"
)

// Files are what a proxy may have opened while it serves: files that the
// configuration names and that change, so that they are opened each time.
type Files struct {
	Secrets []string // what the agent logs in with; opened as credential.File
	Tokens  []string // identity.Issuer.TokenFile of each issuer; opened with identity.OpenToken
}

// errNotNamed means that the configuration does not name a path.
var errNotNamed = errors.New("the configuration names no such file")

func (f Files) open(path string) (*os.File, error) {
	if slices.Contains(f.Secrets, path) {
		return credential.File(path).Open()
	}
	fits := func(template string) bool { return identity.TokenPath(template, path) }
	if slices.ContainsFunc(f.Tokens, fits) {
		return identity.OpenToken(path)
	}
	return nil, errNotNamed
}
