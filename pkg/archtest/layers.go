package archtest

import (
	"fmt"
	"slices"
	"strings"
)

// layers lists every package by its layer. A package imports lower layers
// only. Packages that are planned are listed too: their place is decided.
var layers = [][]string{
	{ // words that every other package shares
		"workload", "session", "operation", "record", "config/document", "failpoint", "textcache", "lineage",
	},
	{ // parts, each ignorant of the others
		"redirect", "attribution", "identity", "trust", "credential", "bus", "spool", "policy", "mask",
		"sqltext", "mysqltext", "shelltext", "approval", "translog", "config", "telemetry", "confine", "siem",
	},
	{ // the plug-ins' contract, what runs around an operation, and what joins the agent's halves
		"broker", "destination", "protocol", "protocol/protocoltest", "httpproxy", "gitwire", "audit", "guard",
	},
	{ // plug-ins, one wire protocol each
		"protocol/postgres", "protocol/mysql", "protocol/ssh", "protocol/kubernetes", "protocol/git", "protocol/web",
	},
	{ // the two programs
		"agent", "collector", "collector/ingest", "collector/store", "collector/api", "collector/web",
		"collector/view", "collector/witness", "collector/notify", "collector/forward", "collector/cosign", "collector/simulate", "collector/collectortest",
	},
	{ // nobody imports it
		"archtest",
	},
}

// sameLayer lists what a package may import of its own layer, or of the layers
// that narrower would refuse it.
var sameLayer = map[string][]string{
	"session":               {"workload"},
	"record":                {"workload", "session", "operation"},
	"policy":                {"mask"},        // Masks returns a set of them
	"broker":                {"destination"}, // it carries tables
	"guard":                 {"protocol", "audit"},
	"httpproxy":             {"protocol"},
	"gitwire":               {"protocol"},
	"protocol/protocoltest": {"protocol"},
	"collector": {
		"collector/ingest", "collector/store", "collector/api", "collector/web", "collector/view", "collector/witness", "collector/notify", "collector/forward", "collector/cosign", "collector/simulate",
	},
	"collector/ingest":        {"collector/store", "collector/view"},
	"collector/store":         {"collector/view"},
	"collector/api":           {"collector/store", "collector/view"},
	"collector/web":           {"collector/api", "collector/store", "collector/view", "collector/simulate"},
	"collector/simulate":      {"collector/view"},
	"collector/witness":       {"collector/store"},
	"collector/forward":       {"collector/store"},
	"collector/cosign":        {"collector/store"},
	"collector/notify":        {"collector/store", "collector/view"},
	"collector/collectortest": {"collector/store", "collector/view"},
}

// narrower lists the only packages of ours that some packages may import,
// besides layer 0: a plug-in cannot reach policy, audit, the bus or a file, and
// no program links the other one's half. The longest prefix counts.
var narrower = map[string][]string{
	"protocol/": {"protocol", "protocol/protocoltest", "httpproxy", "gitwire", "mask", "sqltext", "mysqltext", "shelltext", "trust"},
	"protocol/protocoltest": {
		"protocol", "mask",
	},
	"collector": {
		"bus", "translog", "approval", "identity", "config", "telemetry", "policy", "siem",
	},
	"agent": {
		"redirect", "attribution", "identity", "trust", "credential", "bus", "spool", "policy", "mask", "approval",
		"translog", "config", "telemetry", "broker", "destination", "protocol", "audit", "guard",
	},
}

// commands lists the packages of the programs' halves that each command must
// not import. `sluice` runs on people's machines and links neither.
var commands = map[string][]string{
	"cmd/sluice-agent":     {"collector"},
	"cmd/sluice-collector": {"agent", "broker", "destination", "confine", "redirect", "attribution", "protocol", "guard", "audit", "spool"},
	"cmd/sluice":           {"agent", "broker", "destination", "confine", "redirect", "attribution", "guard", "spool", "collector/store", "collector/ingest", "collector/api"},
}

// owners lists libraries, by the prefix of their import path, and the only
// packages that may import them. The longest prefix counts. Where a library
// has one owner, replacing it is a change of one package.
var owners = map[string][]string{
	"github.com/cilium/ebpf":            {"redirect"},
	"github.com/vishvananda/netlink":    {"redirect"},
	"github.com/vishvananda/netns":      {"redirect"},
	"github.com/coreos/go-oidc":         {"identity"},
	"golang.org/x/oauth2":               {"identity"},
	"github.com/zitadel/oidc":           {},
	"github.com/chromedp":               {},
	"github.com/nats-io/nats.go":        {"bus"},
	"github.com/nats-io/nkeys":          {"bus", "collector"},
	"github.com/nats-io/nats-server":    {"collector"},
	"go.opentelemetry.io/proto":         {"collector/forward"},
	"cel.dev/cel-go":                    {"policy"},
	"github.com/wasilibs/go-pgquery":    {"sqltext"},
	"github.com/pganalyze/pg_query_go":  {"sqltext"},
	"github.com/pingcap/tidb":           {"mysqltext"},
	"golang.org/x/mod/sumdb":            {"translog"},
	"golang.org/x/mod/modfile":          {"archtest"},
	"golang.org/x/net":                  {"destination"},
	"golang.org/x/net/http/httpguts":    {"httpproxy"},
	"go.yaml.in/yaml":                   {"config/document"},
	"github.com/prometheus":             {"telemetry"},
	"go.uber.org/zap/zapcore":           {"telemetry"},
	"github.com/jackc/pgproto3":         {"protocol/postgres"},
	"filippo.io/edwards25519":           {"protocol/mysql"},
	"github.com/go-sql-driver/mysql":    {},
	"github.com/xdg-go/stringprep":      {"protocol/postgres"},
	"golang.org/x/crypto/ssh":           {"protocol/ssh", "approval", "trust"},
	"mvdan.cc/sh":                       {"shelltext"},
	"modernc.org/sqlite":                {"collector/store"},
	"github.com/klauspost/compress":     {"record"},
	"github.com/elastic/go-seccomp-bpf": {"confine"},
	"github.com/fsnotify/fsnotify":      {"redirect"},
	"github.com/go-git":                 {"gitwire", "protocol/git"},
	"k8s.io":                            {"protocol/kubernetes"},
	"k8s.io/cri-api":                    {"attribution"},
	"google.golang.org/grpc":            {"attribution"},
	"github.com/spf13/cobra":            {"cmd"},
	"github.com/jackc/pgx":              {},
	"github.com/go-jose/go-jose":        {},
	"github.com/google/go-cmp":          {},
	"github.com/gorilla/websocket":      {},
	"github.com/moby/spdystream":        {},
}

// rawFields are the zap fields that print bytes as they are.
var rawFields = []string{"ByteString", "ByteStrings", "Binary"}

// mayImport says why a file may not import one of our packages; empty: it may.
func (f file) mayImport(imported string) string {
	theirs, isPkg := strings.CutPrefix(imported, "pkg/")
	switch {
	case imported == "testenv" || strings.HasPrefix(imported, "testenv/"):
		if f.test || strings.HasPrefix(f.dir, "testenv") {
			return ""
		}
		return "production code imports " + imported
	case strings.HasPrefix(imported, "cmd/"):
		return "imports the program " + imported
	case !isPkg:
		return "imports " + imported + ", which is neither in pkg nor in testenv"
	}
	if f.test || strings.HasPrefix(f.dir, "testenv") {
		return ""
	}
	ours, isPkg := strings.CutPrefix(f.dir, "pkg/")
	if !isPkg {
		return command(f.dir, theirs)
	}
	if layer(ours) < 0 || layer(theirs) < 0 {
		return "" // said once, of the package
	}
	return between(ours, theirs)
}

// command says why a program may not import a package.
func command(dir, theirs string) string {
	for _, refused := range commands[dir] {
		if theirs == refused || strings.HasPrefix(theirs, refused+"/") {
			return fmt.Sprintf("links pkg/%s, which belongs to another program", theirs)
		}
	}
	return ""
}

// between says why one package of pkg may not import another.
func between(ours, theirs string) string {
	if slices.Contains(sameLayer[ours], theirs) {
		return ""
	}
	from, to := layer(ours), layer(theirs)
	if to >= from {
		return fmt.Sprintf("pkg/%s, of layer %d, imports pkg/%s, of layer %d: only lower layers are allowed", ours, from, theirs, to)
	}
	if to == 0 {
		return ""
	}
	if only, limited := longest(narrower, ours); limited && !slices.Contains(only, theirs) {
		return fmt.Sprintf("pkg/%s may not import pkg/%s", ours, theirs)
	}
	return ""
}

// mayUse says why a file may not import a library; empty: it may.
func (f file) mayUse(imported string) string {
	if f.test || strings.HasPrefix(f.dir, "testenv") {
		return ""
	}
	allowed, owned := longest(owners, imported)
	dir := strings.TrimPrefix(f.dir, "pkg/")
	if !owned || slices.Contains(allowed, dir) || slices.Contains(allowed, strings.Split(dir, "/")[0]) && !strings.HasPrefix(f.dir, "pkg/") {
		return ""
	}
	if len(allowed) == 0 {
		return fmt.Sprintf("imports %s, which is for tests", imported)
	}
	return fmt.Sprintf("imports %s, which belongs to %s", imported, strings.Join(allowed, ", "))
}

// layer returns a package's layer, or -1.
func layer(name string) int {
	return slices.IndexFunc(layers, func(names []string) bool { return slices.Contains(names, name) })
}

// longest returns the value of the longest key that begins name.
func longest(table map[string][]string, name string) (value []string, found bool) {
	best := ""
	for key := range table {
		if strings.HasPrefix(name, key) && (!found || len(key) > len(best)) {
			best, found = key, true
		}
	}
	return table[best], found
}
