package kubernetes

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// requestInfo is what an API server makes of a request line: RequestInfo of
// k8s.io/apiserver v0.33.13, as testenv/kubernetes/programs/requestinfo wrote it.
type requestInfo struct {
	Line        string `json:"line"`
	Error       bool   `json:"error"`
	Resource    bool   `json:"is_resource"`
	Verb        string `json:"verb"`
	Group       string `json:"group"`
	Version     string `json:"version"`
	Of          string `json:"resource"`
	Subresource string `json:"subresource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
}

// meant is the reading with the differences that are meant: what opens a stream
// is create, whatever the method; and what is proxied is named without scheme
// and port.
func (i *requestInfo) meant() {
	switch i.Subresource {
	case "exec", "attach", "portforward", "proxy":
		if i.Resource {
			i.Verb = "create"
		}
	}
	if i.Subresource == "proxy" {
		parts := strings.Split(i.Name, ":")
		i.Name = parts[min(len(parts)-1, len(parts)/2)]
		if len(parts) == 2 {
			i.Name = parts[0]
		}
	}
}

// TestRequestsReadAsTheServerReadsThem compares with an API server's own
// reading: each request is read alike, or refused. What is refused is in
// testdata/refused.txt, each line with the reason.
func TestRequestsReadAsTheServerReadsThem(t *testing.T) {
	file, err := os.Open("testdata/requestinfo.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var refused strings.Builder
	alike := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var want requestInfo
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		op, err := asked(t, want.Line, "", "")
		if err != nil {
			fmt.Fprintf(&refused, "%.120s\t%v\n", want.Line, err)
			continue
		}
		want.meant()
		k := op.Kube
		got := requestInfo{want.Line, false, k.Resource != "", k.Verb, k.Group, k.Version, k.Resource, k.Subresource, k.Namespace, k.Name}
		if got != want {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
		alike++
	}
	if alike < 500 {
		t.Errorf("only %d requests are read", alike)
	}
	const golden = "testdata/refused.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(refused.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want, err := os.ReadFile(golden); err != nil || string(want) != refused.String() {
		t.Errorf("other requests are refused than %s says, %v: run the test with -update and read what changed", golden, err)
	}
}
