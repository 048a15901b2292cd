package identity

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// oracle says what it is told to say, and counts.
type oracle struct {
	asked atomic.Int64
	says  atomic.Pointer[statement]
	err   atomic.Pointer[error]
	takes time.Duration
}

func (o *oracle) ask() (statement, error) {
	o.asked.Add(1)
	pass(o.takes)
	if err := o.err.Load(); err != nil {
		return statement{}, *err
	}
	return *o.says.Load(), nil
}

func saying(job string) *oracle {
	o := &oracle{}
	o.says.Store(&statement{claims: map[string]any{"job": job}})
	return o
}

func (o *oracle) refuses(err error) { o.err.Store(&err) }

func key(name string) [sha256.Size]byte { return sha256.Sum256([]byte(name)) }

func newAccounts() *accounts { return &accounts{of: make(map[string]*account)} }

// asked is what an account answers at once, and how often the oracle was asked
// until then.
func asked(t *testing.T, a *account, credential string, o *oracle) (job any, count int64) {
	t.Helper()
	said, err := a.answer(t.Context(), key(credential), o.ask)
	if err != nil {
		job = err
	} else {
		job = said.claims["job"]
	}
	synctest.Wait()
	return job, o.asked.Load()
}

// TestEndedJobIsNotRemembered has the jobs of one container run one after the
// other. The second found the first one's credential.
func TestEndedJobIsNotRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, first, second := newAccounts().open("runner"), saying("first"), saying("second")
		if job, _ := asked(t, a, "first's", first); job != "first" {
			t.Fatalf("the first job is %v", job)
		}
		ended := errors.New("401")
		first.refuses(ended)
		if job, _ := asked(t, a, "second's", second); job != "second" {
			t.Errorf("the second job is %v", job)
		}
		pass(freshFor + time.Second)
		_, _ = asked(t, a, "first's", first) // asks again behind it
		if job, _ := asked(t, a, "first's", first); job != any(ended) {
			t.Errorf("half a minute after it ended the first job is %v", job)
		}
	})
}

func TestUnusedAnswerCountsForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newAccounts().open("runner"), saying("job")
		_, _ = asked(t, a, "its", o)
		o.refuses(errors.New("401"))
		pass(usableFor + time.Second)
		if job, count := asked(t, a, "its", o); job == "job" || count != 2 {
			t.Errorf("after a minute the job is %v, asked %d times", job, count)
		}
	})
}

// TestNobodyWaitsForARenewal also keeps an answer while the provider is away, but
// not for longer than it counts.
func TestNobodyWaitsForARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newAccounts().open("runner"), saying("job")
		_, _ = asked(t, a, "its", o)
		o.refuses(fmt.Errorf("%w: 502", ErrProviderAway))
		o.takes = 5 * time.Second
		pass(freshFor + time.Second)
		began := time.Now()
		for range 3 {
			if job, count := asked(t, a, "its", o); job != "job" || count != 2 {
				t.Errorf("the job is %v, asked %d times", job, count)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited for %s", waited)
		}
		pass(usableFor)
		if job, _ := asked(t, a, "its", o); job == "job" {
			t.Error("the answer outlives its minute")
		}
	})
}

func TestTokenThatExpiresSoonerCountsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newAccounts().open("runner"), &oracle{}
		o.says.Store(&statement{claims: map[string]any{"job": "job"}, expires: time.Now().Add(10 * time.Second)})
		_, _ = asked(t, a, "its", o)
		pass(11 * time.Second)
		if _, count := asked(t, a, "its", o); count != 2 {
			t.Errorf("an expired token was asked about %d times, want 2", count)
		}
	})
}

func TestRefusalIsRememberedBriefly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newAccounts().open("runner"), saying("job")
		o.refuses(errors.New("401"))
		for range 5 {
			if _, count := asked(t, a, "its", o); count != 1 {
				t.Errorf("asked %d times", count)
			}
		}
		o.err.Store(nil)
		pass(askFor + retryAfter + time.Second)
		if job, _ := asked(t, a, "its", o); job != "job" {
			t.Errorf("the job is %v", job)
		}
	})
}

// TestManyWaitForOneAnswer has all connections of a job ask at once, and each of
// them wait no longer than it may.
func TestManyWaitForOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, o := newAccounts().open("runner"), saying("job")
		o.takes = 2 * time.Second
		for range 100 {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if _, err := a.answer(ctx, key("its"), o.ask); !errors.Is(err, ErrProviderAway) {
					t.Errorf("got %v", err)
				}
			}()
		}
		pass(3 * time.Second)
		if job, count := asked(t, a, "its", o); job != "job" || count != 1 {
			t.Errorf("the job is %v, asked %d times", job, count)
		}
	})
}

func TestContainersShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, o := newAccounts(), saying("job")
		_, _ = asked(t, all.open("one"), "the same", o)
		if _, count := asked(t, all.open("another"), "the same", o); count != 2 {
			t.Errorf("asked %d times, want once for each container", count)
		}
	})
}

func TestAccountsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := newAccounts()
		for i := range maxAccounts {
			if all.open(fmt.Sprint(i)) == nil {
				t.Fatalf("container %d found no room", i)
			}
		}
		if _, err := all.open("one more").answer(t.Context(), key("x"), saying("x").ask); !errors.Is(err, ErrTooMany) {
			t.Errorf("got %v", err)
		}
		pass(2 * usableFor)
		if all.open("one more") == nil {
			t.Error("containers that say nothing are remembered for ever")
		}
	})
}

func TestPanicOfAnAnswerIsAnError(t *testing.T) {
	_, err := newAccounts().open("runner").answer(t.Context(), key("x"), func() (statement, error) { panic("hunter2") })
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

// TestDigestsDiffer joins the parts of two credentials otherwise.
func TestDigestsDiffer(t *testing.T) {
	seen := make(map[[sha256.Size]byte]string)
	for _, test := range []struct {
		p          provider
		credential []string
	}{
		{provider{Provider: Provider{Kind: "github"}}, []string{"ab", "c"}},
		{provider{Provider: Provider{Kind: "github"}}, []string{"a", "bc"}},
		{provider{Provider: Provider{Kind: "github", Issuer: "https://a.example"}}, []string{"ab", "c"}},
		{provider{Provider: Provider{Kind: "environment", Variable: "A"}}, []string{"abc"}},
		{provider{Provider: Provider{Kind: "environment", Variable: "B"}}, []string{"abc"}},
	} {
		digest, name := test.p.digest(test.credential), fmt.Sprint(test.p.Provider, test.credential)
		if seen[digest] != "" {
			t.Errorf("%s and %s have one digest", seen[digest], name)
		}
		seen[digest] = name
	}
}

// pass lets time go by, in a bubble's clock.
func pass(d time.Duration) { <-time.After(d) }
