package gitwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// pkt is a pkt-line.
func pkt(payload string) string { return fmt.Sprintf("%04x%s", len(payload)+4, payload) }

const (
	offered = "report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format=sha1 push-options push-cert=nonce"
	wished  = "\x00 report-status-v2 side-band-64k object-format=sha1 agent=git/2.39.5"
)

var (
	idA  = strings.Repeat("a1", 20)
	idB  = strings.Repeat("b2", 20)
	zero = strings.Repeat("0", 40)

	signature = pkt("-----BEGIN SSH SIGNATURE-----\n") + pkt("abcd\n") + pkt("-----END SSH SIGNATURE-----\n")
	certHead  = pkt("push-cert"+wished+"\n") + pkt("certificate version 0.1\n") + pkt("pusher ada 0 +0000\n") + pkt("nonce nonce\n") + pkt("\n")
	certTail  = signature + pkt("push-cert-end\n") + "0000"
)

func command(old, to, name string) string { return old + " " + to + " " + name }

func TestRequestsAreReadAsGitWritesThem(t *testing.T) {
	tests := []struct {
		name, wire     string
		names, options []string
	}{
		{name: "nothing", wire: ""},
		{name: "only a flush", wire: "0000"},
		{name: "one", wire: pkt(command(idA, idB, "refs/heads/main")+wished) + "0000", names: []string{"refs/heads/main"}},
		{name: "upper case", wire: pkt(command(strings.ToUpper(idA), idB, "refs/heads/main")+wished) + "0000", names: []string{"refs/heads/main"}},
		{name: "line feeds", wire: pkt(command(idA, idB, "refs/heads/main")+wished+"\n") + pkt(command(zero, idB, "refs/x/y")+"\n") + "0000", names: []string{"refs/heads/main", "refs/x/y"}},
		{name: "shallow", wire: pkt("shallow "+idA) + pkt(command(idA, idB, "refs/heads/main")+wished) + "0000", names: []string{"refs/heads/main"}},
		{name: "options", wire: pkt(command(idA, zero, "refs/heads/main")+wished+" push-options") + "0000" + pkt("a") + pkt("b c") + "0000", names: []string{"refs/heads/main"}, options: []string{"a", "b c"}},
		{name: "signed", wire: certHead + pkt(command(idA, idB, "refs/heads/main")+"\n") + certTail, names: []string{"refs/heads/main"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names, options, err := gitwire.ReadPush(strings.NewReader(test.wire), offered)
			again, _, errAgain := gitwire.ReadPush(iotest.OneByteReader(strings.NewReader(test.wire)), offered)
			if err != nil || errAgain != nil || !slices.Equal(names, test.names) || !slices.Equal(again, names) || !slices.Equal(options, test.options) {
				t.Errorf("%q, %q, %v; by bytes %q, %v", names, options, err, again, errAgain)
			}
		})
	}
}

// Each of these could be read otherwise by some server, or make it do what no
// rule has seen.
func TestRequestsThatGitDoesNotWriteAreRefused(t *testing.T) {
	good := command(idA, idB, "refs/heads/main")
	ref := func(name string) string { return pkt(command(idA, idB, name)+wished) + "0000" }
	tests := map[string]string{
		"a length that is no number":        "zzzz",
		"a length of three":                 "0003",
		"a length over the limit":           "ffff" + strings.Repeat("a", 1<<16),
		"a length of 65521":                 "fff1" + strings.Repeat("a", 1<<16),
		"a signed length":                   "-001",
		"cut in a length":                   "00",
		"cut in a line":                     pkt(good + wished)[:50],
		"no end":                            pkt(good + wished),
		"a delimiter":                       pkt(good+wished) + "0001",
		"the end of a response":             pkt(good+wished) + "0002",
		"no capabilities":                   pkt(good) + "0000",
		"capabilities on the second line":   pkt(good+wished) + pkt(command(idA, idB, "refs/heads/b")+"\x00 push-options") + "0000",
		"a capability after a line feed":    pkt(good+"\x00report-status\npush-options") + "0000",
		"a capability after a tab":          pkt(good+"\x00report-status\tpush-options") + "0000",
		"a space of Unicode's":              pkt(good+"\x00report-status\u00a0side-band-64k") + "0000",
		"a line end of Unicode's":           pkt(good+"\x00report-status\u0085push-options") + "0000" + "0000",
		"two NULs":                          pkt(good+wished+"\x00push-options") + "0000",
		"a capability that was not offered": pkt(good+wished+" object-info") + "0000",
		"another object format":             pkt(good+"\x00object-format=sha256") + "0000",
		"a short id":                        pkt(idA[:39]+" "+idB+" refs/heads/main"+wished) + "0000",
		"a long id":                         pkt(idA+"a "+idB+" refs/heads/main"+wished) + "0000",
		"an id that is no number":           pkt(strings.Repeat("x", 40)+" "+idB+" refs/heads/main"+wished) + "0000",
		"from nothing to nothing":           pkt(command(zero, zero, "refs/heads/main")+wished) + "0000",
		"an empty line":                     "0004" + "0000",
		"a ref changed twice":               pkt(good+wished) + pkt(command(idB, idA, "refs/heads/main")) + "0000",
		"a late shallow line":               pkt(good+wished) + pkt("shallow "+idA) + "0000",
		"a shallow line without an id":      pkt("shallow x") + pkt(good+wished) + "0000",
		"an option with a NUL":              pkt(good+wished+" push-options") + "0000" + pkt("a\x00b") + "0000",
		"options without an end":            pkt(good+wished+" push-options") + "0000" + pkt("a"),
		"too many commands":                 strings.Repeat(pkt("shallow "+idA), 30000),

		"a certificate and commands":     certHead + pkt(command(idA, idB, "refs/heads/main")+"\n") + signature + pkt("push-cert-end\n") + pkt(good) + "0000",
		"a certificate cut by a flush":   certHead + pkt(command(idA, idB, "refs/heads/main")+"\n") + signature + "0000",
		"two signatures":                 certHead + pkt(command(idA, idB, "refs/heads/x")+"\n") + signature + pkt(command(idA, idB, "refs/heads/main")+"\n") + certTail,
		"two lines in a packet":          certHead + pkt(command(idA, idB, "refs/heads/x")+"\n"+command(idA, idB, "refs/heads/main")+"\n") + certTail,
		"half a line in a packet":        certHead + pkt(command(idA, idB, "refs/heads/ma")) + pkt("in\n") + certTail,
		"a NUL in a certificate":         certHead + pkt(command(idA, idB, "refs/heads/main\x00x")+"\n") + certTail,
		"an empty line among commands":   certHead + pkt(command(idA, idB, "refs/heads/main")+"\n") + pkt("\n") + certTail,
		"a signature among the headers":  pkt("push-cert"+wished+"\n") + pkt("pusher x\n") + signature + pkt("\n") + pkt(command(idA, idB, "refs/heads/main")+"\n") + certTail,
		"a certificate without a pusher": pkt("push-cert"+wished+"\n") + pkt("nonce x\n") + pkt("\n") + pkt(command(idA, idB, "refs/heads/main")+"\n") + certTail,
		"a certificate without commands": certHead + certTail,
		"an old kind of signature":       certHead + pkt(command(idA, idB, "refs/heads/x")+"\n") + pkt("-----BEGIN PGP MESSAGE-----\n") + signature + pkt("push-cert-end\n") + "0000",
	}
	for _, name := range []string{
		"HEAD", "main", "refs", "refs/", "refs//heads", "refs/heads/", "refs/heads/a..b", "refs/heads/.a", "refs/heads/a.lock", "refs/heads/a.lock/b",
		"refs/heads/a b", "refs/heads/a~1", "refs/heads/a^", "refs/heads/a:b", "refs/heads/a?", "refs/heads/*", "refs/heads/[a", `refs/heads/a\b`,
		"refs/heads/a\x01", "refs/heads/a\x7f", "refs/heads/@{-1}", "refs/heads/a.", "refs/../config", "../refs/heads/a", "/refs/heads/a",
		"refs/heads/a\n", "refs/heads/" + strings.Repeat("a", 5000), "REFS/heads/a", "refs/heads/a\r",
	} {
		tests[fmt.Sprintf("a ref %.40q", name)] = ref(name + map[bool]string{true: "x\n"}[strings.HasSuffix(name, "\n")])
	}
	for name, wire := range tests {
		t.Run(name, func(t *testing.T) {
			names, _, err := gitwire.ReadPush(strings.NewReader(wire), offered)
			var v *protocol.Violation
			if !errors.As(err, &v) || v.Leg != protocol.ClientLeg {
				t.Errorf("read %q, %v", names, err)
			}
			if _, _, again := gitwire.ReadPush(iotest.OneByteReader(strings.NewReader(wire)), offered); fmt.Sprint(again) != fmt.Sprint(err) {
				t.Errorf("by bytes: %v, whole: %v", again, err)
			}
		})
	}
	t.Run("a certificate that was not asked for", func(t *testing.T) {
		_, _, err := gitwire.ReadPush(strings.NewReader(certHead+pkt(command(idA, idB, "refs/heads/main")+"\n")+certTail), "report-status-v2 side-band-64k object-format=sha1")
		if err == nil {
			t.Error("it was read")
		}
	})
}

func TestCapabilitiesThatNobodyKnowsAreNotOffered(t *testing.T) {
	wire := pkt("version 1\n") + pkt(idA+" refs/heads/main\x00report-status teleport=yes side-band-64k agent=git/9") + pkt(idB+" .have\n") + "0000"
	want := pkt("version 1\n") + pkt(idA+" refs/heads/main\x00report-status side-band-64k agent=git/9\n") + pkt(idB+" .have\n") + "0000"
	if got, err := gitwire.RelayAdvertisement([]byte(wire)); err != nil || string(got) != want {
		t.Errorf("%q, %v", got, err)
	}
	for name, wire := range map[string]string{
		"capabilities twice":     pkt(idA+" refs/heads/a\x00a") + pkt(idB+" refs/heads/b\x00b") + "0000",
		"an unknown format":      pkt(idA+" refs/heads/a\x00object-format=md5") + "0000",
		"ids of another format":  pkt(idA+" refs/heads/a\x00object-format=sha256") + "0000",
		"a delimiter":            pkt(idA+" refs/heads/a\x00a") + "0001",
		"no end":                 pkt(idA + " refs/heads/a\x00a"),
		"control characters":     pkt(idA+" refs/heads/a\x00a\x01b") + "0000",
		"nothing":                "",
		"an impossible length":   "0003",
		"capabilities in part 2": pkt("version 1\n") + pkt("version 2\n") + "0000",
	} {
		if got, err := gitwire.RelayAdvertisement([]byte(wire)); err == nil {
			t.Errorf("%s: %q passed", name, got)
		}
	}
}

func FuzzReadPush(f *testing.F) {
	f.Add([]byte(pkt(command(idA, idB, "refs/heads/main")+wished+" push-options") + "0000" + pkt("a") + "0000PACK"))
	f.Add([]byte(certHead + pkt(command(idA, idB, "refs/heads/main")+"\n") + certTail))
	f.Fuzz(func(t *testing.T, wire []byte) {
		names, _, err := gitwire.ReadPush(bytes.NewReader(wire), offered)
		again, _, errAgain := gitwire.ReadPush(iotest.OneByteReader(bytes.NewReader(wire)), offered)
		if (err == nil) != (errAgain == nil) || err == nil && !slices.Equal(names, again) {
			t.Errorf("%q, %v; by bytes %q, %v", names, err, again, errAgain)
		}
		for _, name := range names {
			if !gitwire.ValidRef(name) {
				t.Errorf("took %q", name)
			}
		}
	})
}

func FuzzAdvertisement(f *testing.F) {
	f.Add([]byte(pkt("version 1\n") + pkt(idA+" refs/heads/main\x00report-status") + "0000"))
	f.Add([]byte(pkt("version 2\n") + pkt("fetch=shallow filter\n") + pkt("object-format=sha256\n") + "0000"))
	f.Fuzz(func(_ *testing.T, wire []byte) {
		_, _ = gitwire.RelayAdvertisement(wire)
		_ = gitwire.ReadUpload(bytes.NewReader(wire))
	})
}

// references is a server's advertisement that never ends.
type references struct{ sent int }

func (r *references) Read(p []byte) (int, error) {
	line := "003d" + strings.Repeat("1", 40) + " refs/heads/main\n"
	n := 0
	for n < len(p) {
		n += copy(p[n:], line[(r.sent+n)%len(line):])
	}
	r.sent += n
	return n, nil
}

func TestAdvertisementWithoutEndIsGivenUp(t *testing.T) {
	var server references
	if err := gitwire.ReadUpload(&server); err == nil || server.sent > 65<<20 {
		t.Errorf("it ended with %v after %d bytes", err, server.sent)
	}
}
