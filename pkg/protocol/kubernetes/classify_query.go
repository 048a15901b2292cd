package kubernetes

import (
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// parseQuery reads a query. A server that reads it too must find the same:
// what it would pass over is refused, and of a resource also what comes twice
// and is not a list.
func parseQuery(query string, ofResource bool) (url.Values, error) {
	if strings.ContainsFunc(query, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' || r == ';' }) {
		return nil, badRequest("the query has a character that has no place in it")
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return nil, badRequest("the query is not encoded as it has to be")
	}
	if !ofResource {
		return values, nil
	}
	for name, all := range values {
		if len(all) > 1 && !slices.Contains([]string{"command", "dryRun", "ports"}, name) {
			return nil, badRequest("the query has a parameter twice")
		}
		for _, value := range all {
			if isNumber := name == "limit" || name == "timeoutSeconds"; isNumber && !digits(value) {
				return nil, badRequest("a parameter of the query is no number")
			}
			if !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
				return nil, badRequest("the query is no text")
			}
		}
	}
	return values, nil
}

func digits(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
}

// truth reads a boolean of the query. Kubernetes takes all but 0 and false for
// true, and others do not: what is not spelled out is refused.
func truth(query url.Values, name string) (bool, error) {
	if !query.Has(name) {
		return false, nil
	}
	switch strings.ToLower(query.Get(name)) {
	case "", "1", "true":
		return true, nil
	case "0", "false":
		return false, nil
	}
	return false, badRequest("a parameter of the query is neither true nor false")
}

// selectedName is the name that a field selector demands; empty: it demands
// none. Fields that are demanded twice are refused.
func selectedName(selector string) (name string, err error) {
	if strings.IndexByte(selector, '\\') >= 0 {
		return "", badRequest("the field selector has an escaped character")
	}
	for term := range strings.SplitSeq(selector, ",") {
		field, value, found := strings.Cut(term, "=")
		if field != "metadata.name" || !found {
			continue
		}
		value = strings.TrimPrefix(value, "=")
		if name != "" || strings.ContainsAny(value, "/%=!") || value == "." || value == ".." {
			return "", badRequest("the field selector does not say one name")
		}
		name = value
	}
	return name, nil
}

// dry reads dryRun, which is All wherever it is anything.
func dry(values []string) (bool, error) {
	for _, value := range values {
		if value != "All" {
			return false, badRequest("dryRun can only be All")
		}
	}
	return len(values) > 0, nil
}
