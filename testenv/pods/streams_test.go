package pods

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/testenv/underlab"
)

// shell is a pod that has the machine's programs, and runs a script.
func shell(script string) object {
	main := prober("main")
	main["command"], main["stdin"], main["stdinOnce"] = []string{"/bin/sh", "-c", script}, true, true
	delete(main, "args")
	s := spec(main)
	for name, path := range map[string]string{"bin": "/usr/bin", "lib": "/usr/lib", "lib64": "/usr/lib64", "usr": "/usr"} {
		s["volumes"] = append(listOf(s["volumes"]), object{"name": name, "hostPath": object{"path": path}})
		mounting(s, object{"name": name, "mountPath": "/" + name, "readOnly": true})
	}
	s["volumes"] = append(listOf(s["volumes"]), object{"name": "tmp", "emptyDir": object{}})
	return mounting(s, object{"name": "tmp", "mountPath": "/tmp"})
}

// kubectl is an unmodified kubectl that a job of the node runs.
func kubectl(websockets bool, args ...string) *exec.Cmd {
	job := []string{"job", "--env", fmt.Sprintf("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=%v", websockets), "--env", fmt.Sprintf("KUBECTL_PORT_FORWARD_WEBSOCKETS=%v", websockets), "--"}
	return node.lab.Command(2*time.Minute, append(job, kubectlArgs(args...)...)...)
}

func kubectlArgs(args ...string) []string {
	return append([]string{
		node.kubectl, "--server=https://" + protectedAPI + ":6443", "--tls-server-name=" + protectedName, "--certificate-authority=/run/sluice/ca.pem", "--token=the-jobs", "--namespace=shop",
	}, args...)
}

// eachWay runs a test over SPDY and over WebSocket.
func eachWay(t *testing.T, test func(t *testing.T, websockets bool)) {
	t.Helper()
	for _, websockets := range []bool{false, true} {
		t.Run(fmt.Sprintf("websockets=%v", websockets), func(t *testing.T) { test(t, websockets) })
	}
}

// recorded returns what is kept of the newest session that began after a moment
// and has some text: of each operation a line with how it ended, and its streams.
func recorded(t *testing.T, after time.Time, with string) string {
	t.Helper()
	var all string
	underlab.Within(t, 30*time.Second, "a session with "+with+" is recorded", func() bool {
		for _, s := range node.lab.Sessions(t, 10) {
			if s.Resource != "api" || s.Started.Before(after.Add(-time.Second)) || s.Ended == nil {
				continue
			}
			if all = transcript(t, s.ID); strings.Contains(all, with) {
				return true
			}
		}
		return false
	})
	return all
}

func transcript(t *testing.T, session string) string {
	t.Helper()
	var shown struct {
		Operations []struct {
			Kind, Text, Status, Code string
			Chunks                   []struct {
				Stream string
				Data   []byte
			}
		}
	}
	if err := json.Unmarshal([]byte(node.lab.Ctl(t, "show", session, "--json")), &shown); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, op := range shown.Operations {
		fmt.Fprintf(&all, "%s %s: %s %s\n", op.Kind, op.Text, op.Status, op.Code)
		for _, chunk := range op.Chunks {
			fmt.Fprintf(&all, "%s: %s\n", chunk.Stream, chunk.Data)
		}
	}
	return all.String()
}

func TestKubectlRunsAProgramInAPod(t *testing.T) {
	run(t, "shop", "web", shell("sleep 600")).waitPhase(t, "Running")
	eachWay(t, func(t *testing.T, websockets bool) {
		began := time.Now()
		marker := fmt.Sprintf("marker-%d", began.UnixNano())
		cmd := kubectl(websockets, "exec", "-i", "web", "--", "sh", "-c", "cat; printf AKIA; echo IOSFODNN7EXAMPLE; echo oops >&2; exit 3")
		cmd.Stdin = strings.NewReader(marker + "\n")
		r := underlab.ResultOf(cmd)
		if r.Code != 3 || !strings.HasPrefix(r.Out, marker+"\n") || strings.Contains(r.Out, "AKIA") || !strings.Contains(r.Errs, "oops") {
			t.Errorf("it ended with %d: %s", r.Code, r.All())
		}
		shown := recorded(t, began, marker)
		for _, want := range []string{"exit 3", "stdin: " + marker, "stderr: oops", "response: [redacted]"} {
			if !strings.Contains(shown, want) {
				t.Errorf("%s is not recorded: %s", want, shown)
			}
		}
		if strings.Contains(shown, "AKIAIOSF") || strings.Contains(shown, "the-jobs") {
			t.Error("a secret is recorded")
		}
	})
}

// TestKubectlCopiesBothWays copies into a pod and back. A job may write 64 MiB of
// its own.
func TestKubectlCopiesBothWays(t *testing.T) {
	run(t, "shop", "copied", shell("sleep 600")).waitPhase(t, "Running")
	eachWay(t, func(t *testing.T, websockets bool) {
		cp := strings.Join(kubectlArgs("cp", "--retries=0"), " ")
		script := "set -e; head -c 50000000 /dev/urandom >/dev/shm/x; sha256sum </dev/shm/x; " +
			cp + " /dev/shm/x copied:/tmp/x; rm /dev/shm/x; " + cp + " copied:/tmp/x /dev/shm/y >&2; sha256sum </dev/shm/y"
		r := underlab.ResultOf(node.lab.Command(2*time.Minute, "job", "--env", fmt.Sprintf("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=%v", websockets), "--", "sh", "-c", script))
		if sums := strings.Fields(r.Out); r.Code != 0 || len(sums) != 4 || sums[0] != sums[2] {
			t.Errorf("it ended with %d: %s", r.Code, r.All())
		}
	})
}

func TestDeniedProgramIsNotRunInAPod(t *testing.T) {
	run(t, "shop", "closed-1", shell("sleep 600")).waitPhase(t, "Running")
	eachWay(t, func(t *testing.T, websockets bool) {
		for _, args := range [][]string{{"exec", "closed-1", "--", "touch", "/tmp/x"}, {"attach", "-i", "closed-1"}} {
			r := underlab.ResultOf(kubectl(websockets, args...))
			if r.Code != 1 || !strings.Contains(r.Errs, `sluice: refused by rule "no-exec-there": Nothing is run there.`) {
				t.Errorf("%v ended with %d: %s", args, r.Code, r.All())
			}
		}
	})
}

func TestHeldProgramInAPodIsApproved(t *testing.T) {
	run(t, "shop", "held-1", shell("sleep 600")).waitPhase(t, "Running")
	eachWay(t, func(t *testing.T, websockets bool) {
		for _, verb := range []string{"approve", "deny"} {
			cmd := kubectl(websockets, "exec", "-i", "held-1", "--", "cat")
			cmd.Stdin = strings.NewReader("early")
			done := make(chan underlab.Result, 1)
			go func() { done <- underlab.ResultOf(cmd) }()
			decide(t, verb)
			r := <-done
			if !strings.Contains(r.Errs, "sluice: waiting for approval #") {
				t.Errorf("%s: it was not told that it waits: %s", verb, r.All())
			}
			if verb == "approve" && (r.Code != 0 || r.Out != "early") {
				t.Errorf("approved, it ended with %d: %s", r.Code, r.All())
			}
			if verb == "deny" && (r.Code != 1 || r.Out != "" || !strings.Contains(r.Errs, `error: sluice: refused by rule "exec-needs-a-person"`)) {
				t.Errorf("denied, it ended with %d: %s", r.Code, r.All())
			}
		}
	})
}

// decide waits for an approval to be asked for, and answers.
func decide(t *testing.T, verb string) {
	t.Helper()
	number := ""
	underlab.Within(t, time.Minute, "an approval is asked for", func() bool {
		var pending []struct {
			Number int
			Rule   string
		}
		if err := json.Unmarshal([]byte(node.lab.Ctl(t, "approvals", "--json")), &pending); err != nil {
			t.Fatal(err)
		}
		for _, p := range pending {
			number = fmt.Sprint(p.Number)
		}
		return len(pending) > 0
	})
	args := []string{"approvals", verb, number}
	if verb == "deny" {
		args = append(args, "--reason", "no")
	}
	node.lab.Ctl(t, args...)
}

func TestKubectlAttachesAndReadsLogs(t *testing.T) {
	eachWay(t, func(t *testing.T, websockets bool) {
		p := run(t, "shop", fmt.Sprintf("talks-%v", websockets), shell("echo ready; read x; echo got $x; sleep 2"))
		p.waitLog(t, "main", "ready")
		follow := make(chan underlab.Result, 1)
		go func() { follow <- underlab.ResultOf(kubectl(websockets, "logs", "-f", p.name)) }()
		cmd := kubectl(websockets, "attach", "-i", p.name)
		cmd.Stdin = strings.NewReader("typed\n")
		if r := underlab.ResultOf(cmd); !strings.Contains(r.Out, "got typed") {
			t.Errorf("attach ended with %d: %s", r.Code, r.All())
		}
		if r := <-follow; !strings.Contains(r.Out, "ready\n") || !strings.Contains(r.Out, "got typed\n") {
			t.Errorf("logs ended with %d: %s", r.Code, r.All())
		}
	})
}

func TestKubectlHasATerminalInAPod(t *testing.T) {
	run(t, "shop", "tty", shell("sleep 600")).waitPhase(t, "Running")
	eachWay(t, func(t *testing.T, websockets bool) {
		began := time.Now()
		line := "stty rows 31 cols 97; exec " + strings.Join(kubectlArgs("exec", "-it", "tty", "--", "sh", "-c", "'sleep 1; stty size'"), " ")
		r := underlab.ResultOf(node.lab.Command(time.Minute, "job", "--env", fmt.Sprintf("KUBECTL_REMOTE_COMMAND_WEBSOCKETS=%v", websockets), "--",
			"script", "-qefc", line, "/dev/null"))
		if !strings.Contains(r.Out, "31 97") {
			t.Errorf("it ended with %d: %s", r.Code, r.All())
		}
		recorded(t, began, "size: 97x31")
	})
}

func TestKubectlForwardsAPort(t *testing.T) {
	serve := `exec perl -MSocket -e 'socket(S,PF_INET,SOCK_STREAM,0);setsockopt(S,SOL_SOCKET,SO_REUSEADDR,1);bind(S,sockaddr_in(8080,INADDR_ANY));listen(S,9);print "ready\n";$|=1;while(accept(C,S)){$_=<C>;print C "hello $_";close C}'`
	p := run(t, "shop", "serves", shell(serve))
	p.waitLog(t, "main", "ready")
	// Logs are the kubelet's own, and may be ahead of the status that kubectl asks for.
	p.waitPhase(t, "Running")
	eachWay(t, func(t *testing.T, websockets bool) {
		began := time.Now()
		script := strings.Join(kubectlArgs("port-forward", "pod/serves", "18080:8080"), " ") + ` & pid=$!
for i in $(seq 300); do sleep 0.1; exec 3<>/dev/tcp/127.0.0.1/18080 && break; done 2>/dev/null
echo forwarded >&3; cat <&3; kill $pid; wait`
		r := underlab.ResultOf(node.lab.Command(time.Minute, "job", "--env", fmt.Sprintf("KUBECTL_PORT_FORWARD_WEBSOCKETS=%v", websockets), "--", "bash", "-c", script))
		if !strings.Contains(r.Out, "hello forwarded") {
			t.Errorf("it ended with %d: %s", r.Code, r.All())
		}
		if shown := recorded(t, began, "serves:8080"); !strings.Contains(shown, "hello forwarded") {
			t.Errorf("the answer is not recorded: %s", shown)
		}
	})
}
