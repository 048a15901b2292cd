package approval_test

import (
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/approval"
)

func TestTextForPeopleCannotDeceive(t *testing.T) {
	got := approval.Printable("a\x1b[2K\u202Eb\x00\xff\tc\nd", 1000)
	if want := "a\\u{001B}[2K\\u{202E}b\\u{0000}\ufffd\tc\nd"; got != want {
		t.Errorf("Printable = %q, want %q", got, want)
	}
	if got, want := approval.Printable("äöü", 3), "äö… (2 more bytes)"; got != want {
		t.Errorf("Printable = %q, want %q", got, want)
	}
}

func TestTextThatAGlanceDoesNotShowSaysSoFirst(t *testing.T) {
	p := newPeople(t)
	for text, want := range map[string]string{
		"SELECT 1": "SELECT 1",
		"SELECT 1;" + strings.Repeat("\n", 5000) + "DROP TABLE t": "[5021 bytes, 5001 lines: read to the end]\nSELECT 1;\n",
		"SELECT 1;" + strings.Repeat(" ", 5000) + "DROP TABLE t":  "[5021 bytes, 1 lines: read to the end]\nSELECT 1; ",
		"/*" + strings.Repeat("x", 30<<10) + "*/ DROP TABLE t":    "[only the first 24576 of 30737 bytes are shown]\n/*x",
		strings.Repeat("\u202e", 6<<10) + "DROP TABLE t":          "[only the first 9216 of 18444 bytes are shown]\n\\u{202E}",
	} {
		r := request(1)
		r.Text = text
		opened, err := approval.OpenRequest(p.sign(t, r), p.agentKey())
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(opened.Text, want) {
			t.Errorf("%.80q, want %q", opened.Text, want)
		}
	}
}

func TestLongestTextStillFitsIntoARequest(t *testing.T) {
	p, r := newPeople(t), request(1)
	worst := strings.Repeat("<", 1<<20)
	r.Text, r.Reason = worst, worst
	r.Requester = approval.Requester{Name: worst, Image: worst, Exe: worst, Product: worst}
	opened, err := approval.OpenRequest(p.sign(t, r), p.agentKey())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(opened.Text, " more bytes)") {
		t.Errorf("the cut is not stated: it ends with %q", opened.Text[len(opened.Text)-40:])
	}
}
