package main

import (
	"encoding/json"
	"testing"

	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/workload"
)

func TestNameOfAWorkloadIsOneContainers(t *testing.T) {
	var sessions []view.Session
	for _, orch := range []workload.OrchFacts{ // the newest first
		{Container: "a1", Name: "main", Pod: "1", PodName: "job"},
		{Container: "b1", Name: "job-2"},
		{Container: "a0", Name: "main", Pod: "0", PodName: "job"}, // an earlier pod of that name
		{Container: "c1", Name: "main", Pod: "2", PodName: "many"},
		{Container: "b0", Name: "job-2"},
		{Container: "c2", Name: "side", Pod: "2", PodName: "many"},
		{Name: "nothing-is-known"},
	} {
		text, err := json.Marshal(orch)
		if err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, view.Session{Orch: text})
	}
	for named, want := range map[string]string{"job": "a1", "job-2": "b1", "main": "", "nothing-is-known": "", "nobody": ""} {
		if got, err := containerCalled(sessions, named); got != want || err != nil {
			t.Errorf("%s is %q, want %q: %v", named, got, want, err)
		}
	}
	if got, err := containerCalled(sessions, "many"); err == nil {
		t.Errorf("one of two containers was chosen: %q", got)
	}
}
