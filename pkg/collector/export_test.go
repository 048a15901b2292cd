package collector

import "github.com/sluicegate/sluice/pkg/collector/store"

// Store is where the collector keeps everything.
func (c *Collector) Store() *store.Store { return c.store }
