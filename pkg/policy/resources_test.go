package policy_test

import (
	"strings"
	"testing"
)

func TestResourcesThatDifferAreNamed(t *testing.T) {
	here := parse(t, shop+"default: allow\n")
	if err := here.SameResources(parse(t, shop+"masks: [{name: m, columns: [public.a.b], method: "+"redact}]\nrules: [{name: r, effect: deny}]\ndefault: deny\n")); err != nil {
		t.Errorf("rules, masks and default: %v", err)
	}
	for name, test := range map[string]struct{ text, want string }{
		"another port":       {strings.Replace(shop, "5432", "5433", 1), "shop-db is written otherwise"},
		"another host":       {strings.Replace(shop, "pg.lab", "evil.lab", 1), "shop-db is written otherwise"},
		"another credential": {strings.Replace(shop, "secrets/shop-db", "secrets/other", 1), "shop-db is written otherwise"},
		"another name":       {strings.Replace(shop, "name: shop-db", "name: shop", 1), "its resources are [shop]"},
		"no TLS":             {shop + "    server_tls: {mode: \"off\"}\n", "shop-db is written otherwise"},
		"one more":           {shop + "  - {name: b, protocol: postgres, hosts: [b.lab], port: 1, credentials: [{user: a, password_file: b}]}\n", "[b shop-db]"},
	} {
		err := here.SameResources(parse(t, test.text+"default: allow\n"))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestAnswersDifferWithMasksAndWithRulesThatReadSQL(t *testing.T) {
	plain := parse(t, shop+"default: allow\n")
	for text, same := range map[string]bool{
		"rules: [{name: r, effect: deny, when: 'op.kind == \"copy-in\"'}]\n":                          true,
		"rules: [{name: r, effect: deny, when: 'op.sql.statements.exists(s, s.class == \"ddl\")'}]\n": false,
		"masks: [{name: m, columns: [public.a.b], method: hash}]\n":                                   false,
		"masks: [{name: m, detect: [jwt], method: hash}]\n":                                           false,
	} {
		if got := plain.SameAnswers(parse(t, shop+text+"default: deny\n"), "shop-db"); got != same {
			t.Errorf("%s: %v", text, got)
		}
	}
}
