package sqltext_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
)

// TestWhatSpreadsIsOpaque: the text does not name all that is changed.
func TestWhatSpreadsIsOpaque(t *testing.T) {
	for text, class := range map[string]operation.Class{
		"DROP OWNED BY app":                                         operation.DDL,
		"DROP OWNED BY CURRENT_USER CASCADE":                        operation.DDL,
		"REASSIGN OWNED BY app TO other":                            operation.Privilege,
		"DROP TABLE t CASCADE":                                      operation.DDL,
		"DROP SCHEMA s CASCADE":                                     operation.DDL,
		"DROP EXTENSION e CASCADE":                                  operation.DDL,
		"TRUNCATE t CASCADE":                                        operation.Write,
		"ALTER TABLE t DROP COLUMN a CASCADE":                       operation.DDL,
		"ALTER TABLE t ADD COLUMN b int, DROP CONSTRAINT c CASCADE": operation.DDL,
		"GRANT SELECT ON ALL TABLES IN SCHEMA s TO app":             operation.Privilege,
		"REVOKE ALL ON t FROM app CASCADE":                          operation.Privilege,
		"CREATE PUBLICATION p FOR ALL TABLES":                       operation.DDL,
	} {
		s := analyzer.Analyze([]byte(text), usual).Statements[0]
		if !s.Opaque || s.Hides || s.Class != class || s.ReadOnly {
			t.Errorf("%s: %+v", text, s)
		}
	}
	for _, text := range []string{"DROP TABLE t", "DROP SCHEMA s RESTRICT", "TRUNCATE t", "ALTER TABLE t DROP COLUMN a", "GRANT SELECT ON t TO app", "REVOKE ALL ON t FROM app"} {
		if s := analyzer.Analyze([]byte(text), usual).Statements[0]; s.Opaque {
			t.Errorf("%s: %+v", text, s)
		}
	}
}
