package mask_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluicegate/sluice/pkg/mask"
)

var key = []byte("0123456789abcdef0123456789abcdef")

func apply(t *testing.T, m mask.Method, value string) string {
	t.Helper()
	out, null := m.Apply(nil, key, []byte(value))
	if null {
		t.Fatalf("%s of %q is null", m, value)
	}
	return string(out)
}

func TestApplyHidesTheValue(t *testing.T) {
	for _, test := range []struct {
		name   string
		method mask.Method
		value  string
		want   string
	}{
		{"redact", mask.Redact, "123-45-6789", "[redacted]"},
		{"redact nothing", mask.Redact, "", "[redacted]"},
		{"partial", mask.Partial, "123-45-6789", "********789"},
		{"partial of a long value", mask.Partial, "alice@example.com", "********.com"},
		{"partial of twelve characters", mask.Partial, "abcdefghijkl", "********ijkl"},
		{"partial of three", mask.Partial, "abc", "********c"},
		{"partial of two shows none", mask.Partial, "ab", "********"},
		{"partial of nothing", mask.Partial, "", "********"},
		{"partial counts characters", mask.Partial, "äöüßé€", "********é€"},
		{"partial of what is not UTF-8", mask.Partial, "\xff\xfe\xfd\xfc\xfb\xfa", "********"},
		// echo -n 123-45-6789 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
		{"hash", mask.Hash, "123-45-6789", wantHash},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := apply(t, test.method, test.value); got != test.want {
				t.Errorf("Apply(%q) = %q, want %q", test.value, got, test.want)
			}
		})
	}
}

const wantHash = "c5e5fd81ed3e05504b23ff6146781b13"

func TestNullAndUnknownMethodsGiveNull(t *testing.T) {
	for _, m := range []mask.Method{mask.Null, "", "rot13"} {
		out, null := m.Apply([]byte("before"), key, []byte("secret"))
		if !null || string(out) != "before" {
			t.Errorf("%q: got %q, null %v; want dst unchanged and null", m, out, null)
		}
	}
}

func TestHashWithoutAKeyRedacts(t *testing.T) {
	out, null := mask.Hash.Apply(nil, nil, []byte("secret"))
	if null || string(out) != "[redacted]" {
		t.Errorf("got %q, null %v", out, null)
	}
}

func TestHashKeepsEqualValuesEqual(t *testing.T) {
	first, second := apply(t, mask.Hash, "a"), apply(t, mask.Hash, "a")
	if first != second {
		t.Error("equal values got different hashes")
	}
	if first == apply(t, mask.Hash, "b") {
		t.Error("different values got one hash")
	}
	other, _ := mask.Hash.Apply(nil, []byte("another key"), []byte("a"))
	if apply(t, mask.Hash, "a") == string(other) {
		t.Error("the key has no part in the hash")
	}
}

func TestApplyAppends(t *testing.T) {
	for _, m := range []mask.Method{mask.Redact, mask.Hash, mask.Partial} {
		out, _ := m.Apply([]byte("before "), key, []byte("a value of some length"))
		if !bytes.HasPrefix(out, []byte("before ")) {
			t.Errorf("%s: got %q", m, out)
		}
	}
}

func TestOnlyKnownMethodsAreValid(t *testing.T) {
	for _, m := range []mask.Method{mask.Redact, mask.Null, mask.Hash, mask.Partial} {
		if !m.Valid() {
			t.Errorf("%s is not valid", m)
		}
	}
	for _, m := range []mask.Method{"", "REDACT", "rot13"} {
		if m.Valid() {
			t.Errorf("%q is valid", m)
		}
	}
}

func TestHashIsHMACAndLeavesNothingBehind(t *testing.T) {
	for _, size := range []int{1, 32, 64, 65, 200} {
		key := bytes.Repeat([]byte{'k'}, size)
		value := []byte("123-45-6789 and something longer than a hash's block, so that it would show")
		dst := make([]byte, 0, 512)
		out, _ := mask.Hash.Apply(dst, key, value)
		mac := hmac.New(sha256.New, key)
		mac.Write(value)
		if want := hex.EncodeToString(mac.Sum(nil)[:16]); string(out) != want {
			t.Errorf("key of %d bytes: got %s, want %s", size, out, want)
		}
		if rest := bytes.Trim(dst[len(out):cap(dst)], "\x00"); len(rest) > 0 {
			t.Errorf("key of %d bytes: %q stays behind the result", size, rest)
		}
	}
}

func TestApplyDoesNotAllocate(t *testing.T) {
	dst := make([]byte, 0, 128)
	value := []byte("alice@example.com")
	for _, m := range []mask.Method{mask.Redact, mask.Null, mask.Hash, mask.Partial} {
		if n := testing.AllocsPerRun(100, func() { m.Apply(dst, key, value) }); n != 0 {
			t.Errorf("%s: %v allocations", m, n)
		}
	}
}

func FuzzApplyShowsNoMoreThanItSays(f *testing.F) {
	f.Add("123-45-6789")
	f.Add("")
	f.Add("äöü€\xff")
	f.Fuzz(func(t *testing.T, value string) {
		if got := apply(t, mask.Redact, value); got != "[redacted]" {
			t.Errorf("redact gave %q", got)
		}
		if got := apply(t, mask.Hash, value); len(got) != 32 {
			t.Errorf("hash gave %q", got)
		}
		shown, ok := strings.CutPrefix(apply(t, mask.Partial, value), "********")
		n := utf8.RuneCountInString(shown)
		if !ok || n > 4 || n*3 > utf8.RuneCountInString(value) || !strings.HasSuffix(value, shown) {
			t.Errorf("partial of %q shows %q", value, shown)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	value := []byte("alice@example.com")
	for _, m := range []mask.Method{mask.Redact, mask.Hash, mask.Partial} {
		b.Run(string(m), func(b *testing.B) {
			b.ReportAllocs()
			dst := make([]byte, 0, 128)
			for b.Loop() {
				m.Apply(dst, key, value)
			}
		})
	}
}
