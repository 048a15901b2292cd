package collector_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/collector/collectortest"
)

// The list of sessions follows what happens, within what its address asks for,
// without a reload.
func TestSessionsAreTailedInChromium(t *testing.T) {
	s := newSite(t)
	n := s.node2()
	c := s.chromium()
	row := func(id string) string { return fmt.Sprintf(`a[href="/sessions/%s"]`, id) }
	c.open("/sessions?denied=1", "light")
	quiet, opened := shop(time.Now(), "c0ffee")
	n.add(t, append([]collectortest.Record{opened}, quiet.Query("SELECT 1", "n", "1")...)...)
	loud, opened := shop(time.Now(), "c0ffee")
	n.add(t, append([]collectortest.Record{opened}, loud.Denied("DROP TABLE orders", "never")...)...)
	c.run(visible(row(loud.ID)))
	if n := eval[int](c, fmt.Sprintf("document.querySelectorAll('%s').length", row(quiet.ID))); n != 0 {
		t.Error("what the filter leaves out is shown")
	}
	n.add(t, quiet.Denied("DROP TABLE orders", "never")...)
	c.run(visible(row(quiet.ID)))
	for _, problem := range c.complaints() {
		t.Error(problem)
	}
}
