package main

import (
	"strings"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/operation"
)

// showReach prints what an operation would touch.
func (e *env) showReach(r *operation.Reach) {
	if r == nil {
		return
	}
	e.printf("\n")
	if r.Unknown != "" {
		e.printf("reach     not known: %s\n", r.Unknown)
	}
	for i := range r.Statements {
		s := &r.Statements[i]
		e.printf("reach     %s\n", strings.TrimSuffix(s.Kind+": "+s.Rows(), ": "))
		for j := range s.Relations {
			relation := &s.Relations[j]
			e.printf("          %s\n", relation.String())
			if len(relation.Dependants) > 0 {
				e.printf("            on it hang %s\n", strings.Join(relation.Dependants, "; "))
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
	e.printf("          %s\n", b.Shape())
	if len(b.First) > 0 {
		e.printf("          for the first time: %s\n", strings.Join(b.First, ", "))
	}
}
