package redirect

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Counters returns what every branch of every program counted since the maps
// were made, under the names of bpf/README.md, and of this run alerts_lost and
// namespaces_refused.
func (r *Redirect) Counters() (map[string]uint64, error) {
	spec, err := loadRedirect()
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", err)
	}
	var enum *btf.Enum
	if err := spec.Types.TypeByName("counter", &enum); err != nil {
		return nil, fmt.Errorf("read names of counters: %w", err)
	}
	counters := map[string]uint64{
		"alerts_lost": r.lost.Load(), "namespaces_refused": r.refusals.Load(),
	}
	for _, value := range enum.Values {
		if value.Value == uint64(redirectCounterCOUNTERS) {
			continue
		}
		var perCPU []uint64
		if err := r.objects.Counters.Lookup(uint32(value.Value), &perCPU); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", value.Name, err)
		}
		name := strings.ToLower(value.Name)
		for _, n := range perCPU {
			counters[name] += n
		}
	}
	return counters, nil
}
