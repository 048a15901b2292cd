package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sluicegate/sluice/pkg/mask"
)

// What another session defines makes the agent read the catalog again, but not
// as the first query of a transaction.
func TestTransactionCanBeArrangedAfterDefinitionsChanged(t *testing.T) {
	s := realServer(t)
	setUp(t, s, "DROP TABLE IF EXISTS people", "CREATE TABLE people (email text)", "ALTER TABLE people OWNER TO app", "GRANT CREATE ON SCHEMA public TO app")
	for name, masks := range map[string][]mask.Column{
		"without masks": nil,
		"with masks":    {{Schema: "public", Table: "people", Column: "email", Method: mask.Redact, Mask: "pii"}},
	} {
		for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
			t.Run(name+" "+mode.String(), func(t *testing.T) {
				p := startProxy(t, s, proxyOptions{masks: masks})
				one := p.connect(t, mode)
				if _, err := one.Exec(t.Context(), "BEGIN"); err != nil {
					t.Fatal(err)
				}
				other := p.connect(t, mode)
				if _, err := other.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS fresh (a int)"); err != nil {
					t.Fatal(err)
				}
				if masks == nil {
					if _, err := other.Exec(t.Context(), "CREATE OR REPLACE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'"); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := one.Exec(t.Context(), "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"); err != nil {
					t.Fatal(err)
				}
				var level string
				if err := one.QueryRow(t.Context(), "SHOW transaction_isolation").Scan(&level); err != nil || level != "serializable" {
					t.Errorf("level %q, %v", level, err)
				}
			})
		}
	}
}
