package collector_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/sluicegate/sluice/pkg/approval"
	"github.com/sluicegate/sluice/pkg/bus"
	"github.com/sluicegate/sluice/pkg/collector"
	"github.com/sluicegate/sluice/pkg/collector/collectortest"
	"github.com/sluicegate/sluice/pkg/record"
	"github.com/sluicegate/sluice/pkg/workload"
)

// hostile is what a job writes wherever it can.
const hostile = `"><script>pwned=1</script><img src=x onerror=pwned=1>{{.}}${pwned=1}'</pre>`

// rightToLeft is a statement whose letters would have a browser turn around what
// is between them, without a character that says so.
const rightToLeft = "SET א = 100, ב = 1"

// asRead tells the text of the statement above in the order in which its
// characters stand on the screen.
const asRead = `(() => {
	const text = [...document.querySelectorAll("pre.code")].map(pre => pre.firstChild).find(node => node.data.startsWith("SET"));
	const range = document.createRange();
	return [...text.data.split("\n")[0]].map((c, i) => {
		range.setStart(text, i);
		range.setEnd(text, i + 1);
		return [range.getBoundingClientRect().left, c];
	}).sort((a, b) => a[0] - b[0]).map(at => at[1]).join("");
})()`

// chromium is a tab of a real browser. It keeps what pages complained about
// and the hosts that they asked.
type chromium struct {
	*site
	ctx context.Context

	mu       sync.Mutex
	problems []string
	hosts    map[string]bool
}

func (s *site) chromium() *chromium {
	s.t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		s.t.Fatal("chromium is missing: scripts/install-deps test")
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.Headless, chromedp.DisableGPU, chromedp.UserDataDir(s.t.TempDir()))
	s.t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	s.t.Cleanup(cancel)
	c := &chromium{site: s, ctx: ctx, hosts: map[string]bool{}}
	check(s.t, chromedp.Listen(ctx, c.listen))
	call(c, network.Enable, network.EnableParams{})
	call(c, runtime.Enable, cdp.Empty{})
	c.run(c.size(1280, 900), chromedp.Navigate(s.console()+"/approvals"))
	c.run(chromedp.Click(chromedp.CSS("a.primary")), chromedp.Click(chromedp.CSS(`button[value="ada"]`)), visible("main h1"))
	c.mu.Lock()
	c.problems, c.hosts = nil, map[string]bool{} // the issuer's own page is not ours
	c.mu.Unlock()
	return c
}

func (c *chromium) listen(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Scheme != "data" && u.Scheme != "blob" {
			c.hosts[u.Host] = true
		}
	case *runtime.EventExceptionThrown:
		c.problems = append(c.problems, e.ExceptionDetails.Text+" "+e.ExceptionDetails.URL)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			c.problems = append(c.problems, fmt.Sprint(e.Type))
		}
	}
}

// patience is how long a page may take to show what is waited for.
const patience = 20 * time.Second

func (c *chromium) run(actions ...chromedp.Action[chromedp.Void]) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		c.t.Fatal(err)
	}
}

// call sends a command of the protocol.
func call[P, R any](c *chromium, command cdp.Command[P, R], with P) {
	c.t.Helper()
	c.run(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, command, with)
		return err
	}))
}

func visible(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

func gone(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitNotPresent(chromedp.CSS(selector))
}

func (c *chromium) size(width, height int64) chromedp.Action[chromedp.Void] {
	return chromedp.EmulateViewport(width, height)
}

// open loads a page of the console in a theme.
func (c *chromium) open(path, theme string) {
	c.t.Helper()
	call(c, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
	c.run(chromedp.Navigate(c.console()+path), visible("main h1"))
}

func eval[T any](c *chromium, script string) T {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	check(c.t, err)
	return value
}

// shot keeps a picture for people to look at, where SLUICE_SHOTS says.
func (c *chromium) shot(name string) {
	dir := os.Getenv("SLUICE_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(c.ctx, chromedp.CaptureScreenshot())
	check(c.t, err)
	check(c.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

// flush waits until nothing of a page is being loaded and returns what pages
// complained about.
func (c *chromium) complaints() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.problems
	c.problems = nil
	return out
}

// node2 is a second agent whose records are made by hand.
type node2 struct {
	*collectortest.Agent
	bus *bus.Agent
}

func (s *site) node2() *node2 {
	s.t.Helper()
	check(s.t, collector.Enrol(s.cfg, "node-2", s.path("node-2")))
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(s.path("node-2"), name))
		check(s.t, err)
		return strings.TrimSpace(string(data))
	}
	n := &node2{Agent: collectortest.WithKey(s.t, "node-2", read(collector.SigningKeyFile), "")}
	connected := make(chan struct{}, 8)
	var err error
	n.bus, err = bus.ConnectAgent(bus.AgentConfig{
		URL: "nats://" + s.cfg.Bus.Listen.String(), Cluster: "test", Agent: "node-2",
		Security: bus.Security{Seed: []byte(read(collector.SeedFile))}, Log: s.log(),
		Connected: func() { connected <- struct{}{} },
	})
	check(s.t, err)
	s.t.Cleanup(n.bus.Close)
	<-connected
	return n
}

func (n *node2) add(t testing.TB, records ...collectortest.Record) {
	t.Helper()
	m := n.Batch(records...)
	await(t, "the bus takes the batch", func() bool { return n.bus.PublishBatch(t.Context(), m.Note, m.Payload) == nil })
}

// shop is a session as jobs have them, run a run with a verified token.
func shop(at time.Time, container string) (*collectortest.Session, collectortest.Record) {
	s := collectortest.NewSession(at)
	opened := s.Opened()
	w := &opened.Header.Opened.Workload
	w.Assurance = workload.Verified
	w.Kernel.Container = container
	w.Verified = map[string]any{"iss": "https://ci.example", "repository": "acme/shop", "run_id": "4711", "actor": "developer"}
	w.Verified["exp"], w.Verified["sluice"] = 1796120112, map[string]any{"container_id": container}
	w.Claimed.Command = []string{"psql", "-h", "pg.lab"}
	return s, opened
}

// fill gives the collector something to show, some of it hostile.
func (s *site) fill(n *node2) (ids map[string]string) {
	ids = map[string]string{}
	at := time.Now().Add(-50 * time.Minute)
	one, opened := shop(at, strings.Repeat("c0ffee", 10))
	records := append([]collectortest.Record{opened}, one.Query("SELECT id, name, email FROM customers ORDER BY id", "email", "[redacted]", "[redacted]", "plain")...)
	records = append(records, one.Denied("DROP TABLE orders", "never-drop-a-table")...)
	records = append(records, one.Query("SELECT count(*) FROM orders", "count", "128")...)
	n.add(s.t, append(records, one.Closed())...)
	ids["shop"] = one.ID
	bad, opened := shop(at.Add(time.Minute), strings.Repeat("feed", 16))
	w := &opened.Header.Opened.Workload
	w.Orch.Name, w.Orch.Image, w.Kernel.Exe = hostile, hostile, "/"+hostile
	w.Claimed.Env = map[string]string{"GITHUB_REPOSITORY": hostile, hostile: hostile}
	w.Claimed.Command = []string{hostile}
	w.Verified[hostile] = hostile
	delete(w.Verified, "run_id") // its container is its run
	w.Agent.Product, w.Agent.Evidence = hostile, []string{hostile}
	opened.Header.Opened.Resource, opened.Header.Opened.Protocol = hostile, "postgres"
	records = append([]collectortest.Record{opened}, bad.Query("SELECT '"+hostile+"'", hostile, hostile)...)
	git := bad.Query("push", "x")
	git[0].Header.Intent.Git = &record.Git{Repository: hostile, Refs: []record.GitRef{{Name: hostile, Kind: "update", Forced: "true", Old: strings.Repeat("a", 40), New: hostile, Lost: []string{hostile}}}}
	n.add(s.t, append(append(records, git...), bad.Denied(hostile, hostile)...)...)
	ids["bad"] = bad.ID
	ids["ssh"] = s.terminal(n, at.Add(2*time.Minute))
	for i := range 12 {
		more, opened := shop(at.Add(time.Duration(i+3)*time.Minute), "beef")
		n.add(s.t, append([]collectortest.Record{opened}, append(more.Query("SELECT 1", "n", "1"), more.Closed())...)...)
	}
	await(s.t, "everything is stored", func() bool { return len(get[[]json.RawMessage](s, "/v1/sessions")) == 15 })
	return ids
}

// terminal is a session whose operation is a shell on a host.
func (s *site) terminal(n *node2, at time.Time) string {
	sh, opened := shop(at, "5511")
	opened.Header.Opened.Resource, opened.Header.Opened.Protocol = "build-host", "ssh"
	q := sh.Query("", "x")
	q[0].Header.Intent.Kind, q[0].Header.Intent.SSH = "shell", &record.SSH{Type: "shell"}
	q[0].Body = nil
	chunk := func(stream, data string, at time.Duration) collectortest.Record {
		r := q[1]
		r.Header.Type, r.Header.Outcome = record.OperationChunk, nil
		r.Header.Chunk = &record.Chunk{Stream: stream, At: int64(at), Size: int64(len(data))}
		r.Body = &record.Body{Text: data}
		return r
	}
	q[1].Header.Outcome.Chunk, q[1].Body = nil, &record.Body{}
	n.add(s.t, opened, q[0], chunk("size", "80x12", 0), chunk("response", "deploy@host:~$ ", 100*time.Millisecond),
		chunk("response", "uptime\r\n 10:02:11 up 41 days\r\n\x1b[32mdeploy@host\x1b[0m:~$ ", 900*time.Millisecond), q[1])
	return sh.ID
}

func TestConsoleInChromium(t *testing.T) {
	s := newSite(t)
	s.withConsole()
	a := s.agent()
	ids := s.fill(s.node2())
	first, _ := a.ask(t, "shop-db", "acme/shop", func(r *approval.Request) {
		r.Session, r.Operation = ids["shop"], 9
		r.Text = "ALTER TABLE orders ADD COLUMN note text;\nUPDATE orders SET note = '' WHERE id < 1000"
		r.Rule, r.Reason = "schema-changes-need-a-person", "Schema changes need a person's yes."
		r.Where = approval.Where{Database: "shop", Role: "app", SearchPath: `"$user", public`}
		r.Requester = approval.Requester{Assurance: workload.Verified, Repository: "acme/shop", Name: "ci-job", Kind: workload.AgentAI, Product: "Claude Code"}
		r.Requester.Commit, r.Requester.Evidence = strings.Repeat("c0ffee", 6)+"beef", []string{"claimed.env CLAUDECODE"}
		r.Before, r.Reach = explained("orders")
		r.NotAfter = time.Now().Add(9 * time.Minute)
	})
	evil, _ := a.ask(t, "shop-db", hostile, func(r *approval.Request) {
		r.NotAfter = time.Now().Add(9 * time.Minute)
		r.Text, r.Rule, r.Reason, r.Session = rightToLeft+"\n"+hostile, hostile, hostile, ids["bad"]
		r.Where = approval.Where{Database: hostile, Role: hostile, SearchPath: hostile}
		r.Requester.Name, r.Requester.Product, r.Requester.Kind = hostile, hostile, workload.AgentAI
		r.Required.Groups = []string{"dba", hostile}
		r.Before, r.Reach = explained(hostile)
	})
	c := s.chromium()
	axe, err := os.ReadFile("testdata/axe.min.js")
	check(t, err)
	pages := map[string]string{
		"approvals": "/approvals", "approval": fmt.Sprintf("/approvals/%d", first), "approval-evil": fmt.Sprintf("/approvals/%d", evil),
		"runs": "/runs", "run": "/run?run=" + url.QueryEscape("verified:acme/shop/4711"), "sessions": "/sessions", "filtered": "/sessions?denied=1&since=24h&resource=" + url.QueryEscape(hostile),
		"session": "/sessions/" + ids["shop"], "session-evil": "/sessions/" + ids["bad"], "terminal": "/sessions/" + ids["ssh"],
		"records": "/sessions/" + ids["bad"] + "/records", "proof": "/sessions/" + ids["shop"] + "/proof",
		"search": "/search?q=select", "search-evil": "/search?q=" + url.QueryEscape(hostile), "agents": "/agents", "policy": "/policy", "verification": "/verification",
	}
	for name, path := range pages {
		for _, theme := range []string{"light", "dark"} {
			c.run(c.size(1280, 900))
			c.open(path, theme)
			if name == "terminal" {
				c.run(visible(".ap-player"))
			}
			c.shot(name + "-" + theme)
			c.inspect(name+" "+theme, string(axe), theme == "dark")
			if text := eval[string](c, "document.body.innerText"); name == "session" && !(strings.Contains(text, "2026-12-01 10:15:12 UTC") && strings.Contains(text, `{"container_id":"c0ffee`)) {
				t.Errorf("the token's claims are not on the page:\n%s", text)
			}
			c.run(c.size(390, 844))
			if over := eval[int](c, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
				t.Errorf("%s is %d pixels too wide for a phone", name, over)
			}
			c.shot(name + "-" + theme + "-390")
		}
	}
	for _, page := range []string{"approvals", "approval-evil"} {
		c.open(pages[page], "light")
		if got := eval[string](c, asRead); got != rightToLeft {
			t.Errorf("%s: a text is read as %q, and is %q", page, got, rightToLeft)
		}
	}
	for host := range c.hosts {
		if host != s.cfg.API.Listen.String() {
			t.Errorf("a page asked %s", host)
		}
	}
	c.decide(a, first)
}

// inspect looks for what must not be on any page; of a theme that differs in
// nothing else, only at its colours.
func (c *chromium) inspect(name, axe string, coloursOnly bool) {
	c.t.Helper()
	if eval[bool](c, "typeof pwned !== 'undefined' || document.querySelector('main script, main img') !== null") {
		c.t.Errorf("%s: what a job wrote has become part of the page", name)
	}
	eval[bool](c, axe+"; true")
	type violation struct {
		ID    string `json:"id"`
		Help  string `json:"help"`
		Nodes []struct {
			HTML string `json:"html"`
		} `json:"nodes"`
	}
	only := ""
	if coloursOnly {
		only = `runOnly: ["color-contrast"], `
	}
	for _, v := range eval[[]violation](c, `axe.run(document, {`+only+`resultTypes: ["violations"]}).then(r => r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => ({html: n.html + " " + n.failureSummary}))})))`) {
		c.t.Errorf("%s: axe: %s: %s: %.300s", name, v.ID, v.Help, v.Nodes[0].HTML)
	}
	for _, problem := range c.complaints() {
		c.t.Errorf("%s: %s", name, problem)
	}
}

// decide drives the list of approvals by keys, while it changes.
func (c *chromium) decide(a *agent, first uint64) {
	c.t.Helper()
	c.run(c.size(1280, 900))
	c.open("/approvals", "light")
	number, _ := a.ask(c.t, "shop-db", "acme/shop", func(r *approval.Request) { r.Text = "CREATE INDEX late ON orders (id)" })
	c.run(visible(fmt.Sprintf(`[data-key="%d"]`, number))) // without a reload
	c.run(chromedp.KeyEvent("j"), visible(fmt.Sprintf(`[data-key="%d"].chosen`, number)))
	for range 5 {
		c.run(chromedp.KeyEvent("j"))
	}
	c.run(visible(fmt.Sprintf(`[data-key="%d"].chosen`, first)))
	c.shot("approvals-chosen")
	c.run(chromedp.KeyEvent("a"), chromedp.KeyEvent("\r"), gone(fmt.Sprintf(`[data-key="%d"]`, first)))
	await(c.t, "the first is approved", func() bool { return c.state(first) == "approved" })
	c.run(visible("main h1"), visible(fmt.Sprintf(`[data-key="%d"]`, number)), chromedp.KeyEvent("j"), chromedp.KeyEvent("d"), chromedp.KeyEvent("\r"))
	await(c.t, "the late one is denied", func() bool { return c.state(number) == "denied" })
}
