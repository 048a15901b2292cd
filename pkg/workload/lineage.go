package workload

import (
	"fmt"
	"strings"
)

// Lineage is what a process and its ancestors executed, as the kernel saw it,
// since the first of them entered the container.
type Lineage struct {
	Programs []Executed // oldest first; of a long chain the first two and the last
	LeftOut  uint64     // how many are left out between these
	Whole    bool       // nothing else is missing
	// Agents has a bit for each of Products that is among the ancestors, those
	// outside of the container included. It is never taken away.
	Agents uint64
	Latest int // of Agents, as a place in Products; -1: none
}

// Executed is one program of a lineage.
type Executed struct {
	Path  string // as execve was given it: any bytes. Of a long one the end, after "…"
	Agent int    // whose name it has, as a place in Products; -1: nobody's
}

// Has says whether one of Products is among the ancestors.
func (l *Lineage) Has(product int) bool { return l.Agents&(1<<product) != 0 }

// Chain is the lineage in one line for people, oldest first. What is not known is
// said.
func (k KernelFacts) Chain() string {
	if len(k.Lineage) == 0 {
		return "unknown"
	}
	const first = 2 // what is left out comes behind the second
	words := k.Lineage
	if k.LineageLeftOut > 0 && len(words) >= first {
		more := fmt.Sprintf("(%d more)", k.LineageLeftOut)
		words = append(append(append([]string{}, words[:first]...), more), words[first:]...)
	}
	chain := strings.Join(words, " → ")
	if !k.LineageWhole {
		return "… → " + chain
	}
	return chain
}
