package ssh

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/protocol"
	"github.com/sluicegate/sluice/pkg/protocol/protocoltest"
)

func TestRecognizesItsOwnOpeningOnly(t *testing.T) {
	plugin, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, opening := range protocoltest.Openings {
		if got := plugin.Recognize(opening); (got == protocol.Yes) != (name == Name) {
			t.Errorf("the opening of %s gave %v", name, got)
		}
	}
	own := protocoltest.Openings[Name]
	for n := range own {
		if plugin.Recognize(own[:n]) == protocol.No {
			t.Errorf("the first %d bytes of its opening were refused", n)
		}
	}
}
