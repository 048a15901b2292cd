package attribution

import "github.com/sluicegate/sluice/pkg/workload"

// addLineage writes what was executed in words that can be shown: a path holds
// any bytes.
func addLineage(facts *workload.KernelFacts, lineage *workload.Lineage) {
	if lineage == nil {
		return
	}
	for _, program := range lineage.Programs {
		facts.Lineage = append(facts.Lineage, printable(program.Path, maxValue))
	}
	facts.LineageLeftOut, facts.LineageWhole = lineage.LeftOut, lineage.Whole
}

// agentsExecuted are the known AI agents in a lineage, and whether the name of
// one is nobody else's. The product is the latest, of those with such a name if
// there is one.
func agentsExecuted(lineage *workload.Lineage) (agent workload.Agent, certain bool) {
	if lineage == nil {
		return agent, false
	}
	for i, product := range workload.Products {
		if !lineage.Has(i) {
			continue
		}
		agent.Evidence = append(agent.Evidence, "kernel.exec "+executedAs(lineage, i))
		switch latest := lineage.Latest == i; {
		case product.Shared && (agent.Product == "" || latest && !certain):
			agent.Product = product.Name
		case !product.Shared && (!certain || latest):
			agent.Product, certain = product.Name, true
		}
	}
	return agent, certain
}

// executedAs is how a product was executed last, or its name where that has left
// the chain.
func executedAs(lineage *workload.Lineage, product int) string {
	for i := len(lineage.Programs) - 1; i >= 0; i-- {
		if lineage.Programs[i].Agent == product {
			return printable(lineage.Programs[i].Path, maxValue)
		}
	}
	return workload.Products[product].Name
}
