package httpproxy

import (
	"net/url"
	"testing"
)

func TestPathThatServersReadDifferentlyIsNotCertain(t *testing.T) {
	for escaped, want := range map[string]struct {
		path    string
		certain bool
	}{
		"/":                      {"/", true},
		"/a/b":                   {"/a/b", true},
		"/a/b/":                  {"/a/b/", true},
		"/a%20b":                 {"/a b", true},
		"/a+b,c=d:e@f!(g)~h*'$&": {"/a+b,c=d:e@f!(g)~h*'$&", true},
		"/v1.0/a.json":           {"/v1.0/a.json", true},
		"/...a":                  {"/...a", true},
		"/caf%C3%A9":             {"/café", true},
		"/%7Euser":               {"/~user", true},
		"/.hidden":               {"/.hidden", true},
		"":                       {"", false},
		"a":                      {"a", false},
		"//a":                    {"//a", false},
		"/a//b":                  {"/a//b", false},
		"/a/./b":                 {"/a/./b", false},
		"/a/../b":                {"/a/../b", false},
		"/a/..":                  {"/a/..", false},
		"/a/.":                   {"/a/.", false},
		"/a/...":                 {"/a/...", false}, // Windows drops the dots
		"/a./b":                  {"/a./b", false},
		"/a%20/b":                {"/a /b", false},
		"/a/%2e%2e/b":            {"/a/../b", false},
		"/a/.%2E/b":              {"/a/../b", false},
		"/a%2fb":                 {"/a/b", false},
		"/a%2Fb":                 {"/a/b", false},
		"/a%5cb":                 {`/a\b`, false},
		`/a\b`:                   {`/a\b`, false},
		"/a%252fb":               {"/a%2fb", false},
		"/a;x=1/b":               {"/a;x=1/b", false},
		"/a%3bb":                 {"/a;b", false},
		"/a%00b":                 {"/a\x00b", false},
		"/a%0ab":                 {"/a\nb", false},
		"/a%7f":                  {"/a\x7f", false},
		"/%61dmin":               {"/admin", false},
		"/a%2Db":                 {"/a-b", false},
		"/a%3Fb":                 {"/a?b", false},
		"/a%23b":                 {"/a#b", false},
		"/%ff":                   {"/\xff", false},
		"/%c0%af":                {"/\xc0\xaf", false},
		"/%ef%bc%8f":             {"/／", false},      // a full-width slash
		"/%e2%84%aa":             {"/\u212a", false}, // the Kelvin sign, a k to who folds
		"/%c5%bf":                {"/ſ", false},
		"/%e2%80%8b":             {"/\u200b", false},
		"/a%":                    {"/a%", false},
		"/a%2":                   {"/a%2", false},
		"/a%zz":                  {"/a%zz", false},
	} {
		path, certain := ReadPath(escaped)
		if path != want.path || certain != want.certain {
			t.Errorf("%q: %q %v, want %q %v", escaped, path, certain, want.path, want.certain)
		}
	}
}

func TestQueryThatHidesAWordIsNotCertain(t *testing.T) {
	for query, want := range map[string]bool{
		"": true, "a=b&c=d": true, "q=two+words%20more": true, "next=%2Fhome%3Fa%3D1": true, "id=1&id=2": true, "q=caf%C3%A9": true,
		"f%6frce=true": false, "force=%74rue": false, "a=b;c=d": false, "a=%00": false, "a=%": false, "a=%zz": false, "a=%ff": false,
	} {
		if got := ReadQuery(query); got != want {
			t.Errorf("%q: %v", query, got)
		}
	}
}

func FuzzCertainPathIsWrittenInOneWay(f *testing.F) {
	for _, seed := range []string{"/a/b", "/a%2fb", "/%C3%A9", "/a;b", "/..", "/%ef%bc%8f", "/%2\x100"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		path, certain := ReadPath(escaped)
		if !certain {
			return
		}
		again, err := url.PathUnescape(escaped)
		if err != nil || again != path {
			t.Errorf("%q is %q, and %q to others", escaped, path, again)
		}
		if twice, ok := ReadPath((&url.URL{Path: path}).EscapedPath()); !ok || twice != path {
			t.Errorf("%q is not certain in its usual form", path)
		}
	})
}
