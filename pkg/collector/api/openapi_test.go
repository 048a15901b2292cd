package api_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEveryPathOfTheDocumentIsServed reads paths and methods from the indent
// of docs/openapi.yaml: paths have two spaces, methods four.
func TestEveryPathOfTheDocumentIsServed(t *testing.T) {
	document, err := os.ReadFile("../../../docs/openapi.yaml")
	check(t, err)
	s := serve(t)
	line := regexp.MustCompile(`(?m)^(?:  (/v1/\S+):|    (get|post):)$`)
	path, served := "", 0
	for _, match := range line.FindAllStringSubmatch(string(document), -1) {
		if match[1] != "" {
			path = strings.NewReplacer("{id}", "x", "{number}", "7", "{tile}", "0/000", "{sequence}", "7").Replace(match[1])
			continue
		}
		served++
		status, answer := s.call(t, "admin", strings.ToUpper(match[2]), path, "")
		if status == http.StatusMethodNotAllowed || strings.Contains(answer, "no such resource") {
			t.Errorf("%s %s: %d %s", match[2], path, status, answer)
		}
	}
	if served != 26 {
		t.Errorf("the document has %d operations, the API 26", served)
	}
}
