package collector

import (
	"fmt"
	"net/url"

	"github.com/sluicegate/sluice/pkg/collector/cosign"
	"github.com/sluicegate/sluice/pkg/config"
	"github.com/sluicegate/sluice/pkg/translog"
)

// Witness is a witness of the log (C2SP tlog-witness). It must know the log's
// key and origin.
type Witness struct {
	// URL is the witness's address; add-checkpoint is below it.
	URL string `yaml:"url"`
	// Key verifies its cosignatures: <name>+<id>+<base64>, Ed25519.
	Key string `yaml:"key"`
}

func (c *Config) validateWitnesses(report config.Problems) {
	names := map[string]bool{c.origin(): true}
	for i, w := range c.Witnesses {
		path := fmt.Sprintf("witnesses[%d]", i)
		if u, err := url.Parse(w.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil {
			report(path+".url", "is not a URL that begins with https://")
		}
		key, err := translog.NewWitness(w.Key)
		if err != nil {
			report(path+".key", "is not the key of a cosignature/v1: write <name>+<id>+<base64>")
			continue
		}
		if names[key.Name()] {
			report(path+".key", "the name %q is used twice", key.Name())
		}
		names[key.Name()] = true
	}
}

// newCosigner returns who asks the witnesses; logKey is the log's.
func (c *Collector) newCosigner(logKey string) (*cosign.Cosigner, error) {
	key, err := translog.NewVerifier(logKey)
	if err != nil {
		return nil, err
	}
	asks := &cosign.Cosigner{Store: c.store, Key: key, Log: c.log.Named("cosign")}
	for _, w := range c.cfg.Witnesses {
		pinned, err := translog.NewWitness(w.Key)
		if err != nil {
			return nil, err
		}
		asks.Witnesses = append(asks.Witnesses, cosign.Witness{URL: w.URL, Key: pinned})
	}
	return asks, nil
}
