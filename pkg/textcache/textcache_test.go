package textcache

import (
	"fmt"
	"strings"
	"testing"
)

const maxEntries, maxBytes = 8192, 16 << 20

func remember(c *Cache[bool], key string) { c.Add(0, []byte(key), true, 100) }

func recalls(c *Cache[bool], key string) bool {
	_, known := c.Find(0, []byte(key))
	return known
}

func TestCacheIsBounded(t *testing.T) {
	c := New[bool](1, maxEntries, maxBytes)
	long := strings.Repeat("x", 4000)
	for i := range 6000 {
		remember(c, fmt.Sprintf("shape %d %s", i, long))
	}
	if n := len(c.ring); n > maxEntries || c.bytes > maxBytes || n < 1000 {
		t.Errorf("%d entries of %d bytes", n, c.bytes)
	}
	for i := range 20000 {
		remember(c, fmt.Sprintf("shape %d", i))
	}
	if n := len(c.ring); n > maxEntries || c.bytes > maxBytes || n != len(c.entries[0]) {
		t.Errorf("%d entries of %d bytes, %d are found", n, c.bytes, len(c.entries[0]))
	}
	c.Add(0, []byte("huge"), true, maxBytes/16)
	if recalls(c, "huge") {
		t.Error("what is very large is remembered")
	}
}

func TestAFloodDoesNotPushOutWhatIsUsed(t *testing.T) {
	c := New[bool](1, maxEntries, maxBytes)
	remember(c, "used")
	for i := range 3 * maxEntries {
		remember(c, fmt.Sprintf("flood %d", i))
		if i%100 == 0 && !recalls(c, "used") {
			t.Fatalf("forgotten after %d", i)
		}
	}
	if recalls(c, "flood 0") {
		t.Error("what nobody used is still there")
	}
}

func TestSpacesKeepKeysApart(t *testing.T) {
	c := New[int](2, 10, maxBytes)
	c.Add(0, []byte("key"), 1, 0)
	if _, known := c.Find(1, []byte("key")); known {
		t.Error("a key is found in another space")
	}
	c.Add(1, []byte("key"), 2, 0)
	c.Add(1, []byte("key"), 3, 0) // what is there stays
	for space, want := range []int{1, 2} {
		if got, _ := c.Find(uint8(space), []byte("key")); got != want {
			t.Errorf("space %d has %d", space, got)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	c := New[bool](1, maxEntries, maxBytes)
	key := []byte("SELECT abalance FROM pgbench_accounts WHERE aid = $1")
	c.Add(0, key, true, 0)
	b.ReportAllocs()
	for b.Loop() {
		c.Find(0, key)
	}
}
