package mysqltext

import (
	"sync"

	"github.com/pingcap/tidb/pkg/parser"
	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/mysql"
	_ "github.com/pingcap/tidb/pkg/parser/test_driver" // makes the values of literals
)

// parsers lends parsers, each of which serves one text at a time.
type parsers struct{ pool sync.Pool }

// parse parses one statement that write wrote. A parser that panics is not used
// again.
func (p *parsers) parse(text string, opt Options) (node ast.StmtNode, why refusal) {
	one, _ := p.pool.Get().(*parser.Parser)
	if one == nil {
		one = parser.New()
		one.SetParserConfig(parser.ParserConfig{EnableWindowFunction: true, SkipPositionRecording: true})
	}
	defer func() {
		if recover() != nil {
			node, why = nil, refusedSyntax
		}
	}()
	mode := mysql.SQLMode(mysql.ModeNone)
	if opt.PipesAsConcat {
		mode |= mysql.ModePipesAsConcat
	}
	if opt.HighNotPrecedence {
		mode |= mysql.ModeHighNotPrecedence
	}
	one.SetSQLMode(mode)
	one.SetMariaDB(opt.MariaDB)
	nodes, _, err := one.ParseSQL(text)
	if err != nil || len(nodes) != 1 {
		one.Reset()
		p.pool.Put(one)
		return nil, refusedSyntax
	}
	node = nodes[0]
	one.Reset() // it must not keep the tree alive
	p.pool.Put(one)
	return node, ""
}
