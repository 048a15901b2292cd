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
		n, err := r.counter(redirectCounter(value.Value))
		if err != nil {
			return nil, fmt.Errorf("read counter %s: %w", value.Name, err)
		}
		counters[strings.ToLower(value.Name)] = n
	}
	return counters, nil
}

func (r *Redirect) counter(which redirectCounter) (sum uint64, err error) {
	var perCPU []uint64
	err = r.objects.Counters.Lookup(uint32(which), &perCPU)
	for _, n := range perCPU {
		sum += n
	}
	return sum, err
}
