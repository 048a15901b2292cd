package siem_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/sluicegate/sluice/pkg/siem"
)

// schema is what testdata/ocsf-1.8.0.json holds of OCSF's schema: the classes
// and objects that events use, resolved, with the profile security_control.
// It was drawn from github.com/ocsf/ocsf-schema at v1.8.0.
type schema struct {
	Version string               `json:"version"`
	Classes map[string]classDef  `json:"classes"`
	Objects map[string]objectDef `json:"objects"`
}

type classDef struct {
	objectDef

	UID      int `json:"uid"`
	Category int `json:"category"`
}

type objectDef struct {
	Attributes  map[string]attributeDef `json:"attributes"`
	Constraints struct {
		AtLeastOne []string `json:"at_least_one"`
	} `json:"constraints"`
}

type attributeDef struct {
	Type     string `json:"type"`
	Array    bool   `json:"array"`
	Required bool   `json:"required"`
	Enum     []int  `json:"enum"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	data, err := os.ReadFile("testdata/ocsf-1.8.0.json")
	check(t, err)
	var s schema
	check(t, json.Unmarshal(data, &s))
	return s
}

// TestOCSFEventsAreValid checks every event against the schema: no attribute
// that the class does not have, none missing that it requires, constraints,
// types and enumerations, down into the objects.
func TestOCSFEventsAreValid(t *testing.T) {
	s := readSchema(t)
	classes := map[int]int{}
	for _, o := range ocsfEvents(t) {
		uid, _ := o["class_uid"].(float64)
		for name, class := range s.Classes {
			if class.UID != int(uid) {
				continue
			}
			classes[class.UID]++
			s.check(t, name, class.objectDef, o)
			if o["category_uid"] != float64(class.Category) || o["type_uid"] != uid*100+o["activity_id"].(float64) {
				t.Errorf("%s: category %v, type %v", name, o["category_uid"], o["type_uid"])
			}
		}
		if o["metadata"].(map[string]any)["version"] != s.Version {
			t.Errorf("the event does not state version %s", s.Version)
		}
	}
	for name, class := range s.Classes {
		if classes[class.UID] == 0 {
			t.Errorf("no event is of the class %s", name)
		}
	}
}

func TestOCSFStatesWhatSluiceDid(t *testing.T) {
	type state struct{ severity, status, action, disposition, activity string }
	got := map[string]state{}
	for _, o := range ocsfEvents(t) {
		word := func(key string) string { s, _ := o[key].(string); return s }
		m := o["metadata"].(map[string]any)
		key := fmt.Sprint(m["event_code"], " ", m["correlation_uid"])
		got[key] = state{word("severity"), word("status"), word("action"), word("disposition"), word("activity_name")}
	}
	const pg, host = "pg00000000000000", "ssh0000000000000"
	for key, want := range map[string]state{
		"operation.intent " + pg + "/2":        {"Informational", "Unknown", "Allowed", "Allowed", "Query"},
		"operation.outcome " + pg + "/2":       {"Low", "Success", "Modified", "Corrected", "Query"}, // masked
		"operation.intent " + pg + "/3":        {"Medium", "Failure", "Denied", "Blocked", "Delete"}, // denied
		"approval.requested " + pg + "/4":      {"Low", "Unknown", "Unknown", "Delayed", "Create"},   // held
		"operation.intent " + pg + "/4":        {"Low", "Unknown", "Allowed", "Approved", "Update"},  // approved
		"operation.outcome " + pg + "/4":       {"Informational", "Failure", "Allowed", "Allowed", "Update"},
		"operation.intent " + pg + "/5":        {"Low", "Unknown", "Observed", "Detected", "statement"},  // only observed
		"operation.outcome " + pg + "/6":       {"Medium", "Failure", "Denied", "Blocked", "Write"},      // refused after the decision
		"approval.settled " + host + "/5":      {"High", "Success", "Allowed", "Approved", "Update"},     // broken glass
		"operation.intent " + host + "/3":      {"Medium", "Failure", "Denied", "Blocked", "Update"},     // forced push
		"session.closed " + pg:                 {"Medium", "Failure", "Denied", "Blocked", "Disconnect"}, // violation
		"operation.intent kube000000000000/1":  {"Medium", "Failure", "Denied", "Blocked", "Delete"},
		"operation.intent kube000000000000/2":  {"Informational", "Unknown", "Allowed", "Allowed", "exec"},
		"operation.outcome web0000000000000/1": {"Informational", "Failure", "Allowed", "Allowed", "Get"},
		"approval.settled kube000000000000/1":  {"Low", "Success", "Allowed", "Approved", "Update"},
		"agent.policy <nil>":                   {"Informational", "Success", "Allowed", "Allowed", "Update"},
		"agent.alert <nil>":                    {"High", "Unknown", "Observed", "Detected", "Create"},
		"operation.outcome unknown000000000/9": {"Informational", "Failure", "Allowed", "Allowed", "Operation"},
	} {
		if got[key] != want {
			t.Errorf("%s: %+v, want %+v", key, got[key], want)
		}
	}
}

func TestOCSFKeepsHostileTextWhole(t *testing.T) {
	for _, o := range ocsfEvents(t) {
		query, _ := o["query_info"].(map[string]any)
		if text, _ := query["query_string"].(string); len(text) > 100 {
			if want := string([]rune(hostile)); text != want { // JSON holds U+FFFD for what is not UTF-8
				t.Errorf("got %q, want %q", text, want)
			}
			return
		}
	}
	t.Error("no event has it")
}

// ocsfEvents are all events as a reader of JSON has them.
func ocsfEvents(t *testing.T) (all []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(written(t, siem.OCSF, events(t))) {
		var o map[string]any
		check(t, json.Unmarshal(line, &o))
		all = append(all, o)
	}
	return all
}

func (s schema) check(t *testing.T, at string, def objectDef, o map[string]any) {
	t.Helper()
	for name, a := range def.Attributes {
		if _, there := o[name]; a.Required && !there {
			t.Errorf("%s: %s is required and missing", at, name)
		}
	}
	if of := def.Constraints.AtLeastOne; len(of) > 0 && !slices.ContainsFunc(of, func(name string) bool { return o[name] != nil }) {
		t.Errorf("%s: none of %v is there", at, of)
	}
	for name, value := range o {
		a, known := def.Attributes[name]
		if !known {
			t.Errorf("%s: has no attribute %s", at, name)
			continue
		}
		values := []any{value}
		if a.Array {
			values, _ = value.([]any)
			if len(values) == 0 {
				t.Errorf("%s.%s: is no list", at, name)
			}
		}
		for _, v := range values {
			s.checkValue(t, at+"."+name, a, v)
		}
	}
}

func (s schema) checkValue(t *testing.T, at string, a attributeDef, value any) {
	t.Helper()
	if def, isObject := s.Objects[a.Type]; isObject && a.Type != "object" {
		o, ok := value.(map[string]any)
		if !ok {
			t.Errorf("%s: is no object", at)
			return
		}
		s.check(t, at, def, o)
		return
	}
	switch a.Type {
	case "integer_t", "long_t", "timestamp_t", "port_t":
		n, ok := value.(float64)
		if !ok || len(a.Enum) > 0 && !slices.Contains(a.Enum, int(n)) {
			t.Errorf("%s: %v is no %s of %v", at, value, a.Type, a.Enum)
		}
	case "boolean_t":
		if _, ok := value.(bool); !ok {
			t.Errorf("%s: %v is no boolean", at, value)
		}
	case "object", "json_t":
		if _, ok := value.(map[string]any); !ok {
			t.Errorf("%s: is no object", at)
		}
	default:
		if text, ok := value.(string); !ok || text == "" {
			t.Errorf("%s: %v is no %s", at, value, a.Type)
		}
	}
}
