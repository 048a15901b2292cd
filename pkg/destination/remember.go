package destination

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/sluicegate/sluice/pkg/redirect"
)

// remembered is a sighting on its way to another process.
type remembered struct {
	Destination      redirect.Destination
	Resource, Host   string
	Until, Withdrawn time.Time
	Lost             bool
	Container        string
}

// Remembered is what names were resolved to, for the Keeper of another process.
// Run must have ended.
func (k *Keeper) Remembered() ([]byte, error) {
	all := make([]remembered, 0, len(k.names.seen))
	for key, s := range k.names.seen {
		all = append(all, remembered{
			Destination: key, Resource: s.named.resource, Host: s.named.host,
			Until: s.until, Withdrawn: s.withdrawn, Lost: s.lost, Container: s.container,
		})
	}
	return json.Marshal(all)
}

// Recall keeps protected what another process's Keeper remembered, for as long
// as that one would have, and where the policy still has the name.
func (k *Keeper) Recall(text []byte) error {
	var all []remembered
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("recall destinations: %w", err)
	}
	for _, r := range all {
		if _, known := k.names.seen[r.Destination]; known {
			continue
		}
		for _, one := range k.names.all {
			if slices.Contains(k.names.shared[one.resource], r.Resource) && one.host == r.Host && one.port == r.Destination.Port {
				k.names.seen[r.Destination] = sighting{
					named: one, until: r.Until, withdrawn: r.Withdrawn, lost: r.Lost, container: r.Container,
				}
			}
		}
	}
	return nil
}
