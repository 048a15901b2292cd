package sqltext_test

import (
	"slices"
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/sqltext"
)

// TestWritingTheCatalogIsADefinition: who writes the server's own tables
// defines, grants and drops by it, and sets parameters by pg_settings.
func TestWritingTheCatalogIsADefinition(t *testing.T) {
	for _, text := range []string{
		"UPDATE pg_authid SET rolsuper = true", "DELETE FROM pg_catalog.pg_class WHERE relname = 'orders'", "INSERT INTO pg_auth_members VALUES (1, 2, 3, true)",
		"COPY pg_proc FROM STDIN", "TRUNCATE pg_depend", "MERGE INTO pg_rewrite r USING t ON true WHEN MATCHED THEN DELETE", `UPDATE "pg_catalog"."pg_proc" SET prosrc = ''`,
		"WITH w AS (UPDATE pg_class SET relname = 'x' RETURNING 1) SELECT * FROM w", "EXPLAIN ANALYZE DELETE FROM pg_trigger",
	} {
		all := analyzer.Analyze([]byte(text), usual).Statements
		if !slices.ContainsFunc(all, func(s sqltext.Statement) bool { return s.Class == operation.DDL && s.Opaque }) || !all[0].Opaque {
			t.Errorf("%s: %+v", text, all)
		}
	}
	for _, text := range []string{"UPDATE pg_settings SET setting = 'off' WHERE name = 'x'", "UPDATE pg_catalog.pg_settings SET setting = 'off'"} {
		s := analyzer.Analyze([]byte(text), usual).Statements[0]
		if !s.Opaque || s.Class != operation.Write || !slices.Contains(s.Functions, "pg_catalog.set_config") || len(s.Effects) != 1 || s.Effects[0].Kind != sqltext.SetAnything {
			t.Errorf("%s: %+v", text, s)
		}
	}
	for _, text := range []string{"UPDATE public.pg_authid SET a = 1", "UPDATE pgbench_accounts SET a = 1", "COPY pg_class TO STDOUT", "SELECT * FROM pg_settings"} {
		if s := analyzer.Analyze([]byte(text), usual).Statements[0]; s.Opaque || s.Class == operation.DDL {
			t.Errorf("%s: %+v", text, s)
		}
	}
}
