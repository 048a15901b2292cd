package main

import (
	"strings"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/collector/view"
	"github.com/sluicegate/sluice/pkg/operation"
)

// showReach prints what an operation would touch.
func (e *env) showReach(r *operation.Reach) {
	if r == nil {
		return
	}
	e.printf("\n")
	if r.Unknown != "" {
		e.printf("reach     not known: %s\n", view.Printable(r.Unknown))
	}
	for i := range r.Statements {
		s := &r.Statements[i]
		e.printf("reach     %s\n", view.Printable(strings.TrimSuffix(s.Kind+": "+s.Rows(), ": ")))
		for j := range s.Relations {
			relation := &s.Relations[j]
			e.printf("          %s\n", view.Printable(relation.String()))
			if len(relation.Dependants) > 0 {
				e.printf("            on it hang %s\n", view.Printable(strings.Join(relation.Dependants, "; ")))
			}
		}
	}
}

// showBefore prints what was done before.
func (e *env) showBefore(b *approval.Before) {
	if b == nil {
		return
	}
	e.printf("before    %s in this session, %d denied, %s masked\n", plural(b.Operations, "operation"), b.Denied, plural(b.Masked, "value"))
	e.printf("          %s\n", view.Printable(b.Shape()))
	if len(b.First) > 0 {
		e.printf("          for the first time: %s\n", view.Printable(strings.Join(b.First, ", ")))
	}
}
