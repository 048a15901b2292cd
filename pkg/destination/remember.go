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
	Host             string
	Until, Withdrawn time.Time
	Lost             bool
	Container        string
}

// Remembered is what names were resolved to, for the Keeper of another process.
// Run must have ended.
func (k *Keeper) Remembered() ([]byte, error) {
	all := make([]remembered, 0, len(k.names.seen))
	for key, sightings := range k.names.seen {
		for _, s := range sightings {
			all = append(all, remembered{
				Destination: key, Host: s.named.host,
				Until: s.until, Withdrawn: s.withdrawn, Lost: s.lost, Container: s.container,
			})
		}
	}
	return json.Marshal(all)
}

// Recall keeps protected what another process's Keeper remembered, for as long
// as that one would have, and where the policy still has the name. What this
// one's names were resolved to since counts for more.
func (k *Keeper) Recall(text []byte) error {
	var all []remembered
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("recall destinations: %w", err)
	}
	resolved := k.names.resolved()
	for _, r := range all {
		for _, one := range k.names.all {
			if one.host != r.Host || one.port != r.Destination.Port {
				continue
			}
			if slices.ContainsFunc(k.names.seen[r.Destination], func(s sighting) bool { return s.named == one }) {
				continue
			}
			k.names.seen[r.Destination] = append(k.names.seen[r.Destination], sighting{
				named: one, until: r.Until, withdrawn: r.Withdrawn, lost: r.Lost || resolved[one], container: r.Container,
			})
		}
	}
	return nil
}

// resolved are the names that have an address.
func (n *names) resolved() map[*named]bool {
	all := make(map[*named]bool)
	for _, sightings := range n.seen {
		for _, s := range sightings {
			all[s.named] = true
		}
	}
	return all
}
