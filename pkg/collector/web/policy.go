package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/api"
	"github.com/sluicegate/sluice/pkg/collector/store"
	"github.com/sluicegate/sluice/pkg/collector/view"
)

// rules is what is in force on agents, and what was published for them. The
// latter rules over all teams and is for roles without limits.
type rules struct {
	Agents    []enforcing
	Published []published
	Limited   bool
	Reads     bool // the visitor may simulate
}

// enforcing is one agent with what it works by, as its own records say.
type enforcing struct {
	view.Chain
	From   *view.Publication // nil: the node's own file, as far as is known
	Missed *view.Publication // the newest for it, if it works by something else
}

// published is one publication of the history.
type published struct {
	view.Publication
	Back string // the command that goes back to it; empty of the newest for its agents
	Text string // the address at which its text is asked about; empty: the visitor may not read it
}

func (c *console) policy(v *visit) error {
	page, err := c.policyPage(v)
	if err != nil {
		return err
	}
	if from := v.r.URL.Query().Get("text"); from != "" {
		if page.Text, err = c.textOf(v, from); err != nil {
			return err
		}
	}
	return c.show(v, "policy", "Policy", page)
}

func (c *console) policyPage(v *visit) (*simulation, error) {
	page := &simulation{Since: "24h", Token: v.token()}
	page.Limited, page.Reads = !v.sees.All(), !v.by.Sees(reader...).Nothing()
	chains, err := c.Agents(v.ctx())
	if err != nil {
		return nil, err
	}
	var all []view.Publication
	if !page.Limited {
		if all, err = c.Published(v.ctx()); err != nil {
			return nil, err
		}
	}
	for i := range chains {
		if chains[i].Policy != "" {
			page.Agents = append(page.Agents, worksBy(chains[i], all))
		}
	}
	admin := v.by.Sees(api.Admin).All() && page.Reads
	for i := range all {
		page.Published = append(page.Published, entry(all, i, admin))
	}
	return page, nil
}

// worksBy finds an agent's policy among the publications for it, newest first.
func worksBy(chain view.Chain, all []view.Publication) enforcing {
	agent := enforcing{Chain: chain}
	for i := range all {
		p := &all[i]
		if !(&approval.Publication{Agents: p.Agents}).For(chain.Agent) {
			continue
		}
		if p.SHA256 == chain.Policy {
			agent.From = p
			break
		}
		if agent.Missed == nil {
			agent.Missed = p
		}
	}
	// The nodes' own files have no hash here: nothing was missed by an agent that
	// works by no other publication.
	if agent.Missed != nil && agent.Missed.SHA256 == "" && agent.From == nil {
		agent.Missed = nil
	}
	return agent
}

// entry is one line of the history. Rolling back takes a publisher's own key,
// so that the page can only say how; the hash keeps the collector from handing
// out another text.
func entry(all []view.Publication, i int, admin bool) published {
	p := published{Publication: all[i]}
	newest := slices.IndexFunc(all, func(other view.Publication) bool { return slices.Equal(other.Agents, p.Agents) })
	agents := " --agents '" + strings.ReplaceAll(strings.Join(p.Agents, ","), "'", `'\''`) + "'"
	switch {
	case newest == i:
	case p.SHA256 == "":
		p.Back = "sluice policy rollback --own-file" + agents
	default:
		p.Back = "sluice policy rollback --to " + strconv.FormatUint(p.Sequence, 10) + " --sha256 " + p.SHA256 + agents
	}
	if admin && p.SHA256 != "" {
		p.Text = "/policy?text=" + strconv.FormatUint(p.Sequence, 10) + "#simulate"
	}
	return p
}

// textOf reads a published policy, for those who may read it at the API too.
func (c *console) textOf(v *visit, sequence string) (string, error) {
	if !v.by.Sees(api.Admin).All() {
		return "", &api.Refusal{Status: http.StatusForbidden, Reason: "What was published is read by admins without limits."}
	}
	n, err := strconv.ParseUint(sequence, 10, 63)
	if err != nil || n == 0 {
		return "", store.ErrNotFound
	}
	found, err := c.Policy(v.ctx(), n)
	return string(found.Text), err
}
