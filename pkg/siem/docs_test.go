package siem_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestDocumentHoldsEveryClassAndState compares docs/export.md with what events
// say.
func TestDocumentHoldsEveryClassAndState(t *testing.T) {
	data, err := os.ReadFile("../../docs/export.md")
	check(t, err)
	document := string(data)
	classes, states, _ := strings.Cut(document, "| What happened |")
	for _, o := range ocsfEvents(t) {
		class := fmt.Sprintf("%s %.0f", o["class_name"], o["class_uid"])
		if !strings.Contains(classes, class) {
			t.Errorf("no word of %s", class)
		}
		if activity, _ := o["activity_name"].(string); o["activity_id"] != 99.0 && !strings.Contains(classes, activity) {
			t.Errorf("no word of %s", activity)
		}
		if version := o["metadata"].(map[string]any)["version"].(string); !strings.Contains(classes, "OCSF "+version) {
			t.Errorf("no word of version %s", version)
		}
		for _, key := range []string{"severity", "status", "action", "disposition"} {
			if word, _ := o[key].(string); word != "" && word != "Logged" && !strings.Contains(states, word) {
				t.Errorf("no word of %s %s", key, word)
			}
		}
	}
}
