package sqltext

// maxNesting bounds the depth of the tree that the parser builds. Its writer
// and freer recurse; from some 1100 nested subqueries on they overflow the
// sandbox's stack, after which it cannot be used again. PostgreSQL itself stops
// at some thousands (max_stack_depth).
const maxNesting = 1000

// clauseDepth is what a bracket counts, and a clause that nests without one. A
// level of theirs is more than one of the tree (a subquery, x BETWEEN y AND
// NOT …), and commas and AND hide the tokens in it from the count.
const clauseDepth = 2

// nesting bounds the depth of a text's syntax tree from above, by its tokens.
//
// Without brackets, a tree gets deeper by at most one token's worth per token,
// and a comma, AND or OR begins a new branch: they build flat lists. Clauses
// that nest without brackets and hold commas or AND (set operations, joins,
// CASE, BETWEEN) are counted for as long as their bracket is open.
type nesting struct {
	depth int // sum of all levels
	top   int
	level [maxNesting]struct {
		clauses int
		chain   int
	}
}

func (n *nesting) reset() {
	n.depth, n.top = 0, 0
	n.level[0].clauses, n.level[0].chain = 0, 0
}

// add counts a token. It returns false when the text may be nested too deeply.
func (n *nesting) add(t token, written []byte) bool {
	switch {
	case t == tokOperator && len(written) == 1:
		switch written[0] {
		case '(', '[':
			return n.open()
		case ')', ']':
			n.close()
			return true
		case ',':
			n.branch()
			return true
		case ';':
			n.branch()
			n.depth -= n.level[n.top].clauses
			n.level[n.top].clauses = 0
			return true
		}
	case t == tokWord:
		switch wordRole(written) {
		case startsBranch:
			n.branch()
			return true
		case opensClause:
			n.branch()
			n.level[n.top].clauses += clauseDepth
			n.depth += clauseDepth
			return n.depth < maxNesting
		}
	}
	n.level[n.top].chain++
	n.depth++
	return n.depth < maxNesting
}

func (n *nesting) branch() {
	n.depth -= n.level[n.top].chain
	n.level[n.top].chain = 0
}

// open counts the bracket itself as part of the chain around it, so that depth
// bounds top.
func (n *nesting) open() bool {
	n.level[n.top].chain += clauseDepth
	n.depth += clauseDepth
	if n.depth >= maxNesting {
		return false
	}
	n.top++
	n.level[n.top].clauses, n.level[n.top].chain = 0, 0
	return true
}

func (n *nesting) close() {
	if n.top == 0 {
		return
	}
	n.depth -= n.level[n.top].chain + n.level[n.top].clauses
	n.top--
}

type role uint8

const (
	noRole role = iota
	startsBranch
	opensClause
)

// wordRole is on the path of every statement: it looks at the length first.
func wordRole(word []byte) role {
	switch len(word) {
	case 2:
		if isWord(word, "or") {
			return startsBranch
		}
	case 3:
		if isWord(word, "and") {
			return startsBranch
		}
	case 4:
		if isWord(word, "join") || isWord(word, "case") {
			return opensClause
		}
	case 5:
		if isWord(word, "union") {
			return opensClause
		}
	case 6:
		if isWord(word, "except") {
			return opensClause
		}
	case 7:
		if isWord(word, "between") {
			return opensClause
		}
	case 9:
		if isWord(word, "intersect") {
			return opensClause
		}
	}
	return noRole
}

// isWord compares word with a key word of letters only, in lower case and of
// the same length. Key words are folded as ASCII.
func isWord(word []byte, keyword string) bool {
	for i := range keyword {
		if word[i]|0x20 != keyword[i] {
			return false
		}
	}
	return true
}
