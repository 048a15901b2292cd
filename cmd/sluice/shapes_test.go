package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluicegate/sluice/pkg/approval"
)

func TestReviewedFileIsListedSignedGivenAndTakenBack(t *testing.T) {
	d := newDesk(t)
	d.write("change.sql", "-- adds a note\nALTER TABLE orders ADD note text;\nUPDATE orders SET note = $1 WHERE id = $2;\n")
	out := d.sluice(0, "policy", "shapes", d.path("change.sql"))
	if !strings.Contains(out, "2 statements, sha256 ") || !strings.Contains(out, "2:1\tALTER TABLE\t") || !strings.Contains(out, "3:1\tUPDATE\t") {
		t.Errorf("shapes: %s", out)
	}
	signing := []string{
		"policy", "shapes", "--sign", "--issuer", "https://ci.example", "--repository", "acme/shop", "--commit", strings.Repeat("a", 40), "--resource", "shop-db",
		"--rule", "ddl", "--database", "shop", "--role", "app", "--cluster", "test", "--as", "ada", "--json", d.path("change.sql"),
	}
	d.sluice(2, signing...) // it goes nowhere
	var given struct {
		ID         string
		Statements int
	}
	check(t, json.Unmarshal([]byte(d.sluice(0, append(signing, "-o", d.path("signed"), "--send")...)), &given))
	roster, err := approval.OpenRoster([]byte(d.read("roster")), mustKey(t, d), 0)
	check(t, err)
	signed, err := os.ReadFile(d.path("signed"))
	check(t, err)
	p, err := approval.OpenPreapproval(signed, roster, "test", time.Now())
	if err != nil || p.ID != given.ID || given.Statements != 2 || len(p.Shapes) != 2 || p.Shapes[1].Line != 3 || p.Where.SearchPath != `"$user", public` || p.By != "ada" {
		t.Errorf("signed: %+v, %v", p, err)
	}
	d.sluice(0, "policy", "shapes", "--withdraw", given.ID, "--reason", "it was wrong")
	d.sluice(2, append(signing, "-o", d.path("signed"), "--commit", "main")...)
}

func mustKey(t *testing.T, d *desk) []byte {
	t.Helper()
	file, err := os.ReadFile(d.path("root.pem"))
	check(t, err)
	key, err := approval.LoadKey(file, nil)
	check(t, err)
	return key[32:] // the public half
}

func TestStatementsThatCannotBeReviewedAreNamedByPlace(t *testing.T) {
	d := newDesk(t)
	d.write("bad.sql", "ALTER TABLE a ADD b int;\n  DO $$ BEGIN END $$;\nSELECT my_function();\n")
	out := d.sluice(1, "policy", "shapes", d.path("bad.sql"))
	if !strings.Contains(out, "bad.sql:2:3: DO runs what stands elsewhere") || !strings.Contains(out, "bad.sql:3:1: it calls the function my_function") || strings.Contains(out, ":1:1:") {
		t.Errorf("shapes: %s", out)
	}
	d.write("empty.sql", "-- nothing\n")
	d.sluice(2, "policy", "shapes", d.path("empty.sql"))
}
