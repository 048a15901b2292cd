package broker

import (
	"encoding/json"
	"fmt"

	"github.com/sluicegate/sluice/pkg/destination"
)

// Publish tells every proxy where protected destinations lead from now on, this
// one and those that come. A proxy that cannot be told is as good as dead.
// Connections that are handed over later are served by the new table, so that
// it is published before it is in force: whoever connects in between to what
// only the new one has goes past the agent, as before, and is not served as
// another's.
func (b *Broker) Publish(table destination.Table) error {
	encoded, err := json.Marshal(table)
	if err != nil {
		return fmt.Errorf("publish destinations: %w", err)
	}
	b.telling.Lock()
	defer b.telling.Unlock()
	b.table = encoded
	for p := range b.told {
		if err := p.tellTable(encoded); err != nil {
			p.fail(fmt.Errorf("hand over destinations: %w", err))
		}
	}
	return nil
}

// welcome gives a proxy the table, and each that comes later.
func (b *Broker) welcome(p *proxy) error {
	b.telling.Lock()
	defer b.telling.Unlock()
	b.told[p] = true
	if b.table == nil {
		return nil
	}
	return p.tellTable(b.table)
}

// part stops telling a proxy that is gone.
func (b *Broker) part(p *proxy) {
	b.telling.Lock()
	defer b.telling.Unlock()
	delete(b.told, p)
}

func (p *proxy) tellTable(encoded []byte) error {
	file, err := memory(encoded)
	if err != nil {
		return err
	}
	defer file.Close() //nolint:errcheck // the proxy has its own descriptor
	p.link.impatient()
	return p.link.send(kindTable, 0, nil, int(file.Fd()))
}
