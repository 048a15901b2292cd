package identity

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/workload"
)

// Binding ties a claim to a fact.
type Binding struct {
	Claim string // path through nested claims: kubernetes.io/pod/uid
	To    string // container_id, container_name, pod_uid, or label: and a label's name
}

// labelFact begins the name of a fact that is a label's value.
const labelFact = "label:"

// Facts says what a Binding's To can be.
const Facts = "container_id, container_name, pod_uid or label:NAME"

// IsFact reports whether a Binding can be to a fact of this name.
func IsFact(name string) bool {
	label, isLabel := strings.CutPrefix(name, labelFact)
	return name == "container_id" || name == "container_name" || name == "pod_uid" || isLabel && label != ""
}

// fact returns what is attested of a workload under a name of configuration.
func fact(wl workload.Workload, name string) string {
	switch name {
	case "container_id":
		return wl.Kernel.Container
	case "container_name":
		return wl.Orch.Name
	case "pod_uid":
		return wl.Orch.Pod
	}
	if label, found := strings.CutPrefix(name, labelFact); found {
		return wl.Orch.Labels[label]
	}
	return ""
}

// validBindings reports what cannot tie a token to a workload.
func validBindings(bind []Binding) error {
	if len(bind) == 0 {
		return errors.New("bind must name a claim that says whose the token is")
	}
	for _, binding := range bind {
		if binding.Claim == "" || !IsFact(binding.To) {
			return fmt.Errorf("bind: write a claim and to: %s", Facts)
		}
	}
	return nil
}

// checkBindings wants each claim to equal its fact. Its error holds no values.
func checkBindings(bind []Binding, claims map[string]any, wl workload.Workload) error {
	for _, binding := range bind {
		attested := fact(wl, binding.To)
		if claimed, ok := text(lookup(claims, binding.Claim)); !ok || attested == "" || claimed != attested {
			return fmt.Errorf("%w: %s is not its %s", ErrUnbound, binding.Claim, binding.To)
		}
	}
	return nil
}

// text returns a claim as facts are written: a text, or a whole number, as some
// issuers write the ids that others write as texts.
func text(claim any) (string, bool) {
	switch claim := claim.(type) {
	case string:
		return claim, true
	case float64:
		const exact = 1 << 53 // beyond it several whole numbers are the same float64
		if claim == math.Trunc(claim) && math.Abs(claim) < exact {
			return strconv.FormatInt(int64(claim), 10), true
		}
	}
	return "", false
}

// lookup follows a path through nested claims. A name that itself holds a / is
// found, too.
func lookup(claims map[string]any, path string) any {
	if claim, found := claims[path]; found {
		return claim
	}
	for end := len(path) - 1; end > 0; end-- {
		if path[end] != '/' {
			continue
		}
		if nested, ok := claims[path[:end]].(map[string]any); ok {
			if claim := lookup(nested, path[end+1:]); claim != nil {
				return claim
			}
		}
	}
	return nil
}
