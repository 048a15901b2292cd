package redirect

import (
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
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
	if err := r.addLineageCounters(counters); err != nil {
		return nil, fmt.Errorf("read counters of lineages: %w", err)
	}
	for _, value := range enum.Values {
		if value.Value == uint64(redirectCounterCOUNTERS) {
			continue
		}
		n, err := sum(r.objects.Counters, uint32(value.Value))
		if err != nil {
			return nil, fmt.Errorf("read counter %s: %w", value.Name, err)
		}
		counters[strings.ToLower(value.Name)] = n
	}
	return counters, nil
}

// addLineageCounters adds those since this run began; where lineages cannot be
// known there are none.
func (r *Redirect) addLineageCounters(to map[string]uint64) error {
	if r.tracing == nil {
		return nil
	}
	for name, which := range map[string]lineageLineageCounter{
		"lineage_begun":   lineageLineageCounterLINEAGE_BEGUN,
		"lineage_gap":     lineageLineageCounterLINEAGE_GAP,
		"lineage_no_room": lineageLineageCounterLINEAGE_NO_ROOM,
	} {
		n, err := sum(r.tracing.objects.LineageCounters, uint32(which))
		if err != nil {
			return err
		}
		to[name] = n
	}
	return nil
}

func sum(counters *ebpf.Map, which uint32) (sum uint64, err error) {
	var perCPU []uint64
	err = counters.Lookup(which, &perCPU)
	for _, n := range perCPU {
		sum += n
	}
	return sum, err
}
