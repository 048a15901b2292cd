package collector_test

import (
	"strings"
	"testing"
	"time"
)

// TestTerminalPlaysInChromium plays what a job saw of a host, by the player
// that the collector embeds.
func TestTerminalPlaysInChromium(t *testing.T) {
	s := newSite(t)
	id := s.terminal(s.node2(), time.Now().Add(-time.Minute))
	s.awaitStored(id)
	c := s.chromium()
	c.open("/sessions/"+id, "light")
	c.run(visible(".ap-player"))
	shown := func() string { return eval[string](c, `document.querySelector(".ap-term")?.textContent ?? ""`) }
	if strings.Contains(shown(), "up 41 days") {
		t.Error("the terminal shows its end before it is played")
	}
	c.run(visible(".ap-overlay-start"))

	await(t, "the terminal's last lines are played", func() bool {
		eval[bool](c, `document.querySelector(".ap-overlay-start")?.click() === undefined`) // it starts once it has loaded
		return strings.Contains(shown(), "up 41 days") && strings.Count(shown(), "deploy@host") == 2
	})
	if colour := eval[string](c, `[...document.querySelectorAll(".ap-term span")].filter(e => e.textContent.includes("deploy@host")).map(e => e.className + e.getAttribute("style")).join()`); !strings.Contains(colour, "2") {
		t.Errorf("the prompt has lost its green: %q", colour)
	}
	c.shot("terminal-played")
	for _, problem := range c.complaints() {
		t.Error(problem)
	}
	for host := range c.hosts {
		if host != s.cfg.API.Listen.String() {
			t.Errorf("the page asked %s", host)
		}
	}
}
