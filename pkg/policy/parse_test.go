package policy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/policy"
)

// TestInvalidFilesSayWhatToWrite parses each file of testdata/invalid. The
// file's first lines, "# " and a text each, are the whole error.
func TestInvalidFilesSayWhatToWrite(t *testing.T) {
	files, err := filepath.Glob("testdata/invalid/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				if !strings.HasPrefix(line, "# ") {
					break
				}
				want = append(want, strings.TrimSpace(line[2:]))
			}
			_, err = policy.Parse("shop.yaml", text)
			if err == nil {
				t.Fatalf("accepted, want\n%s", strings.Join(want, "\n"))
			}
			if got := err.Error(); got != strings.Join(want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
			}
		})
	}
}

func TestValidFilesParse(t *testing.T) {
	files, err := filepath.Glob("testdata/valid/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		valid(t, filepath.Base(file))
	}
}

func TestHashIsOfTheFilesBytes(t *testing.T) {
	a, b := parse(t, shop+"default: deny\n"), parse(t, shop+"default: deny\n# and a comment\n")
	if a.Hash() == b.Hash() || len(a.Hash()) != 64 {
		t.Errorf("hashes %s and %s", a.Hash(), b.Hash())
	}
}

func TestResourcesAreWhatTheFileSays(t *testing.T) {
	all := valid(t, "shop.yaml").Resources()
	if len(all) != 1 {
		t.Fatalf("got %d resources, want 1", len(all))
	}
	var hosts []string
	for _, host := range all[0].Hosts {
		hosts = append(hosts, host.String())
	}
	if got, want := strings.Join(hosts, " "), "pg.lab 192.0.2.0/24 2001:db8::7"; got != want {
		t.Errorf("hosts %s, want %s", got, want)
	}
	if all[0].ServerTLS.Mode != policy.VerifyFull || all[0].ServerTLS.CAFile != "ca.pem" || all[0].Port != 5432 {
		t.Errorf("got %+v", all[0])
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	text, err := os.ReadFile("testdata/valid/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	p, err := policy.Parse("/etc/sluice/shop.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Resources()[0].ServerTLS.CAFile; got != "/etc/sluice/ca.pem" {
		t.Errorf("ca_file is %s, want /etc/sluice/ca.pem", got)
	}
}

func TestHugeFileIsRefused(t *testing.T) {
	if _, err := policy.Parse("p", bytes.Repeat([]byte("#"), 2<<20)); err == nil {
		t.Error("two megabytes were accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/valid/*.yaml", "testdata/invalid/*.yaml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse("shop.yaml", text)
		if (p == nil) == (err == nil) {
			t.Fatalf("got %v and %v", p, err)
		}
	})
}
