package main

import (
	"encoding/json"
	"testing"
)

func TestFactsAreOneLineThatCannotDeceive(t *testing.T) {
	for group, want := range map[string]string{
		`{}`:   "-",
		`null`: "-",
		`{"netns_cookie":18446744073709551615,"pid":0}`:         "netns_cookie=18446744073709551615",
		`{"b":"x y","a":["1","2 3"],"c":{"d":true},"e":""}`:     `a=[1 "2 3"] b="x y" c.d=true`,
		`{"exe":"/bin/\u001b[2Jsh","x":"a\nverified  sub=eve"}`: "exe=/bin/\uFFFD[2Jsh x=\"a\\nverified  sub=eve\"",
		`{`: "?",
	} {
		if got := facts(json.RawMessage(group)); got != want {
			t.Errorf("facts of %s: %q, want %q", group, got, want)
		}
	}
}
