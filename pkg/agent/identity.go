package agent

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/attribution"
	"github.com/sluicegate/sluice/pkg/identity"
	"github.com/sluicegate/sluice/pkg/redirect"
	"github.com/sluicegate/sluice/pkg/workload"
)

// workload says who opened a connection, with the claims of its provider, or of
// a token in a file, where these are bound to it.
func (a *Agent) workload(ctx context.Context, log *zap.Logger, origin redirect.Origin) workload.Workload {
	w, variables := a.Registry.WorkloadWith(ctx, attribution.Origin{
		CgroupID:    origin.CgroupID,
		NetnsCookie: origin.NetnsCookie,
		PID:         origin.PID,
		UID:         origin.UID,
		Started:     origin.Started,
		Lineage:     origin.Lineage,
	}, a.Borrower.Variables())
	claims, level, err := a.Borrower.Verify(ctx, w, variables.Value)
	if err != nil {
		a.unbelieved(log, origin, err)
	}
	if level != workload.Unattributed {
		w.Verified, w.Assurance = claims, level
		return w
	}
	claims, bound, err := a.Identities.Verify(ctx, w)
	if err != nil {
		log.Warn("A workload's token was not accepted", zap.Error(err))
	}
	if err == nil && bound {
		w.Verified, w.Assurance = claims, workload.Verified
	}
	return w
}

// unbelieved says why what a workload holds gives it nothing. A credential of a
// job whose container this is not is recorded: somebody may have stolen it.
func (a *Agent) unbelieved(log *zap.Logger, origin redirect.Origin, why error) {
	log.Warn("A credential in a workload's environment gives it nothing", zap.Error(why))
	if errors.Is(why, identity.ErrUnbound) {
		a.alert("credential-unbound", origin, why.Error())
	}
}
