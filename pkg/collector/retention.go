package collector

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/config"
)

// Retention says how long bodies are kept: statements, values and answers.
type Retention struct {
	// Resource names a resource of the policy. Empty: all, and what belongs to
	// none.
	Resource string `yaml:"resource"`
	// Days is after how many days a body is destroyed, counted from when it was
	// stored. Its header stays, and the log says that it was destroyed and by
	// which rule.
	Days int `yaml:"days"`
}

func (c *Config) validateRetention(report config.Problems) {
	seen := map[string]bool{}
	for i, r := range c.Retention {
		path := fmt.Sprintf("retention[%d]", i)
		if r.Days < 1 {
			report(path+".days", "is missing: write after how many days bodies are destroyed")
		}
		if seen[r.Resource] {
			report(path+".resource", "%q is there twice", r.Resource)
		}
		seen[r.Resource] = true
	}
}

// retainEvery is how often retention looks for what is old enough.
const retainEvery = time.Hour

// retain destroys bodies that are old enough until ctx ends.
func (c *Collector) retain(ctx context.Context) error {
	tick := time.NewTicker(retainEvery)
	defer tick.Stop()
	for {
		for _, r := range c.cfg.Retention {
			if err := c.retainOne(ctx, r); err != nil && ctx.Err() == nil {
				c.log.Error("Retention failed and will be tried again", zap.String("resource", r.Resource), zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Collector) retainOne(ctx context.Context, r Retention) error {
	of := r.Resource
	if of == "" {
		of = "every resource"
	}
	bodies, err := c.store.Shred(ctx, store.Shred{
		Before: time.Now().AddDate(0, 0, -r.Days), Resource: r.Resource,
		By: "retention", Reason: fmt.Sprintf("bodies of %s are kept for %d days", of, r.Days),
	})
	if bodies > 0 {
		c.log.Info("Bodies were destroyed by retention", zap.String("resource", r.Resource), zap.Int("bodies", bodies))
	}
	return err
}
