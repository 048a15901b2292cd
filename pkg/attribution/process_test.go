package attribution

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
)

// self opens the test's own process, which certainly runs.
func self(t *testing.T) process {
	t.Helper()
	dir, err := os.OpenRoot("/proc/self")
	if err != nil {
		t.Fatal(err)
	}
	return process{dir}
}

// opened opens what is read of the test's own process.
func opened(t *testing.T) *Process {
	t.Helper()
	self := self(t)
	defer self.dir.Close()
	p, err := self.open()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHangingReadsOfOneCgroupDoNotReachAnother(t *testing.T) {
	r := New(Local(Config{}), zap.NewNop())
	for range maxReading {
		if !r.beginReading(1) {
			t.Fatal("a read was refused too early")
		}
	}
	if got := <-r.readClaims(1, opened(t), nil); got.claims.Command != nil {
		t.Errorf("one read too many gave %v", got.claims.Command)
	}
	if got := <-r.readClaims(2, opened(t), nil); got.claims.Command == nil {
		t.Error("another cgroup's read gave nothing")
	}
	r.endReading(1)
	if got := <-r.readClaims(1, opened(t), nil); got.claims.Command == nil {
		t.Error("after a read ended the next gave nothing")
	}
}

func TestStartTimeIsReadWhateverTheProgramIsCalled(t *testing.T) {
	p := self(t)
	defer p.dir.Close()
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.WriteFile("/proc/self/comm", comm, 0) })
	before, err := p.started()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("/proc/self/comm", []byte(") R 1 1 1 (("), 0); err != nil {
		t.Fatal(err)
	}
	after, err := p.started()
	if err != nil {
		t.Fatal(err)
	}
	if apart := after.Sub(before).Abs(); apart > startTolerance/2 {
		t.Errorf("the two readings are %s apart", apart)
	}
	if !strings.Contains(after.String(), " m=") {
		t.Error("the start time has no monotonic reading")
	}
	if age := time.Since(after); age < 0 || age > time.Hour {
		t.Errorf("the test began %s ago", age)
	}
}
