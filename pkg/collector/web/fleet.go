package web

import (
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// maxFindings is how many findings a page shows.
const maxFindings = 100

// fleet is what pages about agents and evidence show. Findings are for roles
// without limits: they speak of all teams.
type fleet struct {
	Chains     []view.Chain
	Findings   []view.Finding
	Orders     against // for roles without limits too
	Limited    bool
	Size       int64
	Checkpoint string
}

func (c *console) fleet(v *visit) (fleet, error) {
	var f fleet
	var err error
	if f.Chains, err = c.Agents(v.ctx()); err != nil {
		return f, err
	}
	if f.Limited = !v.sees.All(); !f.Limited {
		if f.Findings, err = c.Store.Findings(v.ctx(), maxFindings); err != nil {
			return f, err
		}
		f.Orders = c.standing(v, func(*view.Order) bool { return true })
	}
	size, note, err := c.Store.Checkpoint(v.ctx())
	f.Size, f.Checkpoint = size, string(note)
	return f, err
}

func (c *console) agents(v *visit) error       { return c.showFleet(v, "agents", "Agents") }
func (c *console) verification(v *visit) error { return c.showFleet(v, "verification", "Verification") }

func (c *console) showFleet(v *visit, name, title string) error {
	f, err := c.fleet(v)
	if err != nil {
		return err
	}
	return c.show(v, name, title, f)
}
