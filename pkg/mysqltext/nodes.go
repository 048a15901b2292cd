package mysqltext

import "github.com/pingcap/tidb/pkg/parser/ast"

// nodeKind names what the parser took a statement for.
func nodeKind(node ast.StmtNode) (name string, ok bool) {
	switch n := node.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt:
		return "SELECT", true
	case *ast.InsertStmt:
		if n.IsReplace {
			return "REPLACE", true
		}
		return "INSERT", true
	case *ast.UpdateStmt:
		return "UPDATE", true
	case *ast.DeleteStmt:
		return "DELETE", true
	case *ast.LoadDataStmt:
		return "LOAD DATA", true
	case *ast.TruncateTableStmt:
		return "TRUNCATE", true
	case *ast.CreateTableStmt:
		if n.Select != nil {
			return "CREATE TABLE AS", true
		}
		return "CREATE TABLE", true
	case *ast.AlterTableStmt:
		return "ALTER TABLE", true
	case *ast.DropTableStmt:
		if n.IsView {
			return "DROP VIEW", true
		}
		return "DROP TABLE", true
	case *ast.CreateViewStmt:
		return "CREATE VIEW", true
	case *ast.CreateIndexStmt:
		return "CREATE INDEX", true
	case *ast.DropIndexStmt:
		return "DROP INDEX", true
	case *ast.CreateSequenceStmt:
		return "CREATE SEQUENCE", true
	case *ast.AlterSequenceStmt:
		return "ALTER SEQUENCE", true
	case *ast.DropSequenceStmt:
		return "DROP SEQUENCE", true
	}
	return "", false
}

func hasWhere(node ast.StmtNode) bool {
	switch n := node.(type) {
	case *ast.UpdateStmt:
		return n.Where != nil
	case *ast.DeleteStmt:
		return n.Where != nil
	}
	return false
}

// writes returns the relations that a statement changes, defines or drops: of
// UPDATE and DELETE all that it joins, since a name may be any's.
func (d *describer) writes(node ast.StmtNode) []string {
	var found []string
	add := func(names ...*ast.TableName) {
		for _, n := range names {
			if n != nil {
				found = addName(found, d.opt.relation(n))
			}
		}
	}
	switch n := node.(type) {
	case *ast.InsertStmt:
		add(target(n.Table))
	case *ast.UpdateStmt:
		d.joined(n.TableRefs.TableRefs, n.With, &found)
	case *ast.DeleteStmt:
		d.joined(n.TableRefs.TableRefs, n.With, &found)
	case *ast.LoadDataStmt:
		add(n.Table)
	case *ast.TruncateTableStmt:
		add(n.Table)
	case *ast.CreateTableStmt:
		add(n.Table)
	case *ast.AlterTableStmt:
		add(n.Table)
		for _, spec := range n.Specs {
			add(spec.NewTable)
		}
	case *ast.DropTableStmt:
		add(n.Tables...)
	case *ast.CreateViewStmt:
		add(n.ViewName)
	case *ast.CreateIndexStmt:
		add(n.Table)
	case *ast.DropIndexStmt:
		add(n.Table)
	case *ast.CreateSequenceStmt:
		add(n.Name)
	case *ast.AlterSequenceStmt:
		add(n.Name)
	case *ast.DropSequenceStmt:
		add(n.Sequences...)
	}
	return found
}

// joined lists the relations of a join, without those of its queries.
func (d *describer) joined(node ast.ResultSetNode, with *ast.WithClause, found *[]string) {
	switch n := node.(type) {
	case *ast.Join:
		d.joined(n.Left, with, found)
		if n.Right != nil {
			d.joined(n.Right, with, found)
		}
	case *ast.TableSource:
		d.joined(n.Source, with, found)
	case *ast.TableName:
		if n.Schema.O == "" && with != nil {
			for _, cte := range with.CTEs {
				if d.opt.foldRelation(cte.Name.O) == d.opt.foldRelation(n.Name.O) {
					return
				}
			}
		}
		*found = addName(*found, d.opt.relation(n))
	}
}

// temporary notes temporary tables: they hide others of their name.
func (d *describer) temporary(node ast.StmtNode, st *Statement) {
	if n, ok := node.(*ast.CreateTableStmt); ok && n.TemporaryKeyword != ast.TemporaryNone {
		st.Effects = append(st.Effects, Effect{Kind: Temporary, Name: d.opt.relation(n.Table)})
	}
}
