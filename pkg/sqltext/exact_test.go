package sqltext_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/sqltext"
)

func TestStatementsAreKnownByTheirTokens(t *testing.T) {
	const reviewed = "DELETE FROM orders WHERE id = 7 AND state = 'open' AND at < $1"
	want := digest(t, reviewed)
	for _, same := range []string{
		"  DELETE\tFROM orders\nWHERE id=7 AND state='open' AND at<$1 ;", "DELETE FROM/* all */ orders WHERE id = 7 AND -- x\n state = 'open' AND at < $1;;",
	} {
		if digest(t, same) != want {
			t.Errorf("%s: other tokens", same)
		}
	}
	for _, other := range []string{
		"DELETE FROM orders WHERE id = 8 AND state = 'open' AND at < $1", "DELETE FROM orders WHERE id = '7' AND state = 'open' AND at < $1",
		"DELETE FROM orders WHERE id = 7 AND state = E'open' AND at < $1", "DELETE FROM orders WHERE id = 7 AND state = $$open$$ AND at < $1",
		"DELETE FROM orders WHERE id = 7 AND state = N'open' AND at < $1", "DELETE FROM orders WHERE id = 7 AND state = 'op'\n'en' AND at < $1",
		"DELETE FROM orders WHERE id = 7 AND state = 'open' AND at < $2", "DELETE FROM orders WHERE id = 7 AND state = 'open' AND at < '$1'",
		"DELETE FROM orders WHERE id = $1 AND state = 'open' AND at < $1", "DELETE FROM orders WHERE id = 7 OR state = 'open' AND at < $1",
		`DELETE FROM "orders" WHERE id = 7 AND state = 'open' AND at < $1`, "DELETE FROM Orders WHERE id = 7 AND state = 'open' AND at < $1",
		"DELETE FROM s.orders WHERE id = 7 AND state = 'open' AND at < $1", "DELETE FROM orders WHERE id = 7 AND state = 'open' AND at < $1 RETURNING id",
		"DELETE FROM orders WHERE id = 7.0 AND state = 'open' AND at < $1", "DELETE FROM orders WHERE id = 07 AND state = 'open' AND at < $1",
	} {
		if digest(t, other) == want {
			t.Errorf("%s: the same", other)
		}
	}
}

func digest(t *testing.T, text string) [32]byte {
	t.Helper()
	found, problems := analyzer.Exactly([]byte(text))
	if len(found) != 1 || len(problems) > 0 {
		t.Fatalf("%s: %d statements, %v", text, len(found), problems)
	}
	return found[0].Digest
}

func TestATextIsTakenApartWithItsPlaces(t *testing.T) {
	text := "-- one\nALTER TABLE é ADD x int; CREATE TABLE a (\n  id int CHECK (id > 0)\n);\n\nBEGIN; UPDATE a SET id = $1;\nCOMMIT"
	found, problems := analyzer.Exactly([]byte(text))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []sqltext.Exact{
		{Kind: "ALTER TABLE", Place: sqltext.Place{Line: 2, Column: 1}},
		{Kind: "CREATE TABLE", Place: sqltext.Place{Line: 2, Column: 26}},
		{Kind: "BEGIN", Place: sqltext.Place{Line: 6, Column: 1}},
		{Kind: "UPDATE", Place: sqltext.Place{Line: 6, Column: 8}},
		{Kind: "COMMIT", Place: sqltext.Place{Line: 7, Column: 1}},
	}
	if len(found) != len(want) {
		t.Fatalf("got %+v", found)
	}
	for i := range want {
		if found[i].Kind != want[i].Kind || found[i].Place != want[i].Place {
			t.Errorf("got %s at %+v, want %s at %+v", found[i].Kind, found[i].Place, want[i].Kind, want[i].Place)
		}
	}
}

func TestWhatTokensDoNotShowHasAPlaceAndAReason(t *testing.T) {
	for text, at := range map[string]sqltext.Place{
		"SELECT 1;\n  DO $$ BEGIN END $$": {Line: 2, Column: 3},
		"EXECUTE p":                       {Line: 1, Column: 1},
		"SELECT 1; CALL f()":              {Line: 1, Column: 11},
		"PREPARE p AS SELECT 1":           {Line: 1, Column: 1},
		"SELECT query_to_xml('DROP TABLE t', true, true, '')":                  {Line: 1, Column: 1},
		"SELECT my_function(1)":                                                {Line: 1, Column: 1},
		"SELECT set_config('role', 'x', false)":                                {Line: 1, Column: 1},
		"SELECT nextval('s')":                                                  {Line: 1, Column: 1},
		"CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'":           {Line: 1, Column: 1},
		"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END": {Line: 1, Column: 1},
		"CREATE TRIGGER t BEFORE DELETE ON a EXECUTE FUNCTION f()":             {Line: 1, Column: 1},
		"COPY t FROM STDIN":                                                    {Line: 1, Column: 1},
		"COPY t TO PROGRAM 'sh'":                                               {Line: 1, Column: 1},
		"ALTER ROLE a PASSWORD 'x'":                                            {Line: 1, Column: 1},
		"ALTER SYSTEM SET a = 'b'":                                             {Line: 1, Column: 1},
		"SELECT a FROM t WHERE b = U&'\\0041'":                                 {Line: 1, Column: 27},
		"SELECT a FROM t WHERE U&\"b\" = 1":                                    {Line: 1, Column: 23},
		"SELECT 'a\\'":                                                         {Line: 1, Column: 8},
		"SELECT 1;\n\\set x 1":                                                 {Line: 2, Column: 1},
		"SELECT 'open":                                                         {Line: 1, Column: 8},
		"SELEC 1":                                                              {Line: 1, Column: 1},
		"SELECT (1; SELECT 2)":                                                 {Line: 1, Column: 1},
		"SELECT 1); SELECT 2":                                                  {Line: 1, Column: 1},
		"SELECT \xff":                                                          {Line: 1, Column: 1},
		"FETCH c":                                                              {Line: 1, Column: 1},
		"EXPLAIN ANALYZE EXECUTE p":                                            {Line: 1, Column: 1},
		"CREATE EXTENSION dblink":                                              {Line: 1, Column: 1},
		"WITH d AS (DELETE FROM t WHERE f() RETURNING 1) SELECT 1":             {Line: 1, Column: 1},
		"CREATE RULE r AS ON DELETE TO t DO ALSO SELECT f()":                   {Line: 1, Column: 1},
	} {
		found, problems := analyzer.Exactly([]byte(text))
		if len(found) > 0 || len(problems) != 1 || problems[0].Place != at || problems[0].Why == "" {
			t.Errorf("%s: %d statements, %+v", text, len(found), problems)
		}
	}
	if found, problems := analyzer.Exactly([]byte(" ; -- nothing\n;")); len(found)+len(problems) > 0 {
		t.Errorf("of nothing: %v, %v", found, problems)
	}
}
