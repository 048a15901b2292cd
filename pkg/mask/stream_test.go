package mask_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/mask"
)

func everything() *mask.Set {
	set := &mask.Set{}
	for _, d := range mask.Detectors() {
		set.Detect = append(set.Detect, mask.Detection{Detector: d, Mask: "all", Method: mask.Redact})
	}
	return set
}

const pem = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ\nAAAAAAAAABAAAAMwAAAAtzc2gtZW\n-----END OPENSSH PRIVATE KEY-----"

var streams = []string{
	"nothing at all\n$ ",
	"key ghp_0123456789abcdefghijABCDEFGHIJ012345 and more\n",
	"AKIAIOSFODNN7EXAMPLE\n", "xAKIAIOSFODNN7EXAMPLE\n", "AKIAIOSFODNN7EXAMPLEX\n",
	"aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\nnext",
	`AWS_SECRET_ACCESS_KEY="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"`,
	"a " + pem + "\nb " + pem,
	"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
	"card 4111 1111 1111 1111 203 ok", "4111111111111111", "a4111111111111111 1.4111111111111111 4111-1111-1111-1111-",
	"mail ada.l+x@example.com, bob@host and c@d.ee.\n",
	"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0. eyJ eyJx.y\n",
	"glpat-0123456789abcdefghij xoxb-0123456789 AIza0123456789abcdefghijABCDEFGHIJ01234 sk_live_0123456789abcdef\n",
	"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n- - -- --- ---- ----- -----BEGIN ",
}

// split passes a text through a stream in pieces.
func split(text []byte, size func() int) string {
	s := mask.NewStream(everything(), key)
	var out []byte
	for len(text) > 0 {
		n := min(max(1, size()), len(text))
		out, _ = s.Write(out, text[:n])
		text = text[n:]
	}
	out, _ = s.Close(out)
	return string(out)
}

func TestStreamHidesTheSameInAnyPieces(t *testing.T) {
	for _, text := range append(streams, strings.Join(streams, " "), strings.Join(streams, "")) {
		clean, _, _ := everything().AppendClean(nil, key, []byte(text))
		for n := 1; n <= min(len(text), 70); n++ {
			if got := split([]byte(text), func() int { return n }); got != string(clean) {
				t.Errorf("in pieces of %d: got %q, want %q", n, got, clean)
				break
			}
		}
	}
}

func TestStreamReleasesAPromptAndKeepsASecret(t *testing.T) {
	s := mask.NewStream(everything(), key)
	out, _ := s.Write(nil, []byte("password 4"))
	out, _ = s.Release(out)
	if string(out) != "password 4" {
		t.Errorf("released %q", out)
	}
	out, _ = s.Write(nil, []byte(" -----BEGIN RSA PRIVATE KEY-----\nsecret"))
	out, hidden := s.Release(out)
	out, _ = s.Write(out, []byte(" secret\n-----END RSA"))
	out, _ = s.Write(out, []byte(" PRIVATE KEY-----\n$ ghp_0123456789abcdefghijABCDEFGHIJ012345"))
	out, more := s.Release(out)
	out, _ = s.Write(out, []byte("6789 done"))
	out, _ = s.Close(out)
	if want := " [redacted]\n$ [redacted] done"; string(out) != want || hidden+more != 2 {
		t.Errorf("got %q, %d hidden; want %q", out, hidden+more, want)
	}
}

func TestStreamOfOneSecretWithoutEndIsBounded(t *testing.T) {
	for name, text := range map[string]string{
		"armour": "x -----BEGIN PRIVATE KEY-----" + strings.Repeat("A", 1<<17) + "-----END PRIVATE KEY----- y",
		"token":  "x ghp_" + strings.Repeat("A", 1<<17) + " y",
	} {
		s := mask.NewStream(everything(), key)
		var out []byte
		for piece := range bytes.SplitSeq([]byte(text), []byte("AAA")) {
			out, _ = s.Write(out, append(piece, "AAA"...))
		}
		out, _ = s.Close(out)
		if strings.Contains(string(out[:len(out)-3]), "AAA") || !bytes.HasSuffix(out, []byte(" yAAA")) || len(out) > 100 {
			t.Errorf("%s: got %d bytes, %.80q", name, len(out), out)
		}
	}
	many := strings.Repeat("7", 1<<20)
	if got := split([]byte(many), func() int { return 32 << 10 }); got != many {
		t.Errorf("digits: %d of %d bytes came", len(got), len(many))
	}
}

func FuzzStreamIsTheSameInAnyPieces(f *testing.F) {
	for _, text := range streams {
		f.Add([]byte(text), uint64(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		if len(text) > 2<<10 {
			return // beyond its window it lets go of what it cannot know
		}
		clean, _, _ := everything().AppendClean(nil, key, text)
		random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
		if got := split(text, func() int { return random.IntN(8) }); got != string(clean) {
			t.Errorf("got %q, want %q", got, clean)
		}
	})
}
