package gitwire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/sluicegate/sluice/pkg/gitwire"
	"github.com/sluicegate/sluice/pkg/protocol"
)

// line is a pkt-line.
func line(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }

var (
	zeros     = strings.Repeat("0", 40)
	announced = line("# service=git-receive-pack\n") + "0000"
	advert    = line(zeros+" capabilities^{}\x00report-status side-band-64k who-knows\n") + "0000"
	adverted  = line(zeros+" capabilities^{}\x00report-status side-band-64k\n") + "0000"
)

// What a server offers for a push passes as far as it is understood, in
// whatever pieces it comes, with or without the line that names the service.
func TestAdvertise(t *testing.T) {
	for name, test := range map[string]struct{ says, passes string }{
		"named":     {announced + advert, announced + adverted},
		"not named": {advert, adverted},
	} {
		var got bytes.Buffer
		err := gitwire.Advertise(gitwire.ReceivePack, iotest.OneByteReader(strings.NewReader(test.says)), func(chunk []byte) error {
			_, err := got.Write(chunk)
			return err
		})
		if err != nil || got.String() != test.passes {
			t.Errorf("%s: %q adverted, %v", name, got.String(), err)
		}
	}
}

// A server that offers something else than was asked for, or that ends in the
// middle, is not believed.
func TestAdvertiseBroken(t *testing.T) {
	for name, says := range map[string]string{
		"another service":  line("# service=git-upload-pack\n") + "0000" + advert,
		"no flush":         line("# service=git-receive-pack\n") + advert,
		"the name alone":   line("# service=git-receive-pack\n"),
		"half of it":       announced + advert[:30],
		"no end":           announced + strings.TrimSuffix(advert, "0000"),
		"nothing":          "",
		"no pkt-line":      "<!DOCTYPE html>",
		"an id too short":  announced + line("00 capabilities^{}\x00report-status\n") + "0000",
		"capabilities, v2": announced + "0001",
	} {
		err := gitwire.Advertise(gitwire.ReceivePack, strings.NewReader(says), func([]byte) error { return nil })
		if err == nil {
			t.Errorf("%s: was believed", name)
		}
		var broken *protocol.Violation
		if errors.As(err, &broken) && broken.Leg != protocol.ServerLeg {
			t.Errorf("%s: is the fault of the %v leg", name, broken.Leg)
		}
	}
}

// What comes behind the name is what the service itself says.
func TestAnnounced(t *testing.T) {
	for _, says := range []string{announced + advert, advert} {
		rest, err := gitwire.Announced(gitwire.ReceivePack, strings.NewReader(says))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(rest)
		if err != nil || string(got) != advert {
			t.Errorf("%q, %v", got, err)
		}
	}
}
