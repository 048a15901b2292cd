package agent

import (
	"context"
	"testing"

	"go.uber.org/zap"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/session"
)

// telling is a protocol whose looks do what a test wants.
type telling struct {
	protocol.Protocol
	look func() *operation.Reach
}

func (t telling) Reach(context.Context, *protocol.Conn, *operation.Operation) *operation.Reach {
	return t.look()
}

func TestLookThatFailsOrMustNotBeSaysSo(t *testing.T) {
	release := make(chan struct{})
	waiting := make(chan struct{})
	a := &Agent{Parts: Parts{Protocols: map[string]protocol.Protocol{
		"mute":  struct{ protocol.Protocol }{},
		"panic": telling{look: func() *operation.Reach { panic("quoting the wire") }},
		"slow": telling{look: func() *operation.Reach {
			waiting <- struct{}{}
			<-release
			return &operation.Reach{}
		}},
	}}, looks: newQuota(maxLooks)}
	look := func(name string) *operation.Reach {
		conn := &protocol.Conn{Session: &session.Session{Protocol: name}, Log: zap.NewNop()}
		return a.reach(t.Context(), conn, &operation.Operation{})
	}
	if reach := look("mute"); reach != nil {
		t.Errorf("a protocol that cannot tell tells %+v", reach)
	}
	if reach := look("panic"); reach == nil || reach.Unknown == "" {
		t.Errorf("after a panic: %+v", reach)
	}
	done := make(chan struct{})
	for range maxLooks {
		go func() {
			look("slow")
			done <- struct{}{}
		}()
		<-waiting
	}
	if reach := look("panic"); reach == nil || reach.Unknown != "other operations of this workload are being looked at" {
		t.Errorf("beyond the workload's share: %+v", reach)
	}
	close(release)
	for range maxLooks {
		<-done
	}
}
