package policy

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
)

// costLimit bounds one evaluation of one condition, in CEL's units of about
// 50 ns each: a statement list that a job made long cannot hold the agent up.
const costLimit = 200_000

// errNotConvertible is what CEL gets when it asks for an object as something
// else.
var errNotConvertible = errors.New("not convertible")

// language compiles conditions.
type language struct {
	env    *cel.Env
	values map[string]map[string][]string // type → field → all that it can be
}

// condition is a compiled when. It is safe for concurrent use.
type condition struct {
	program cel.Program
	reads   reads
	need    *need
}

// newLanguage builds the environment of all conditions.
func newLanguage() (*language, error) {
	r, err := newRegistry()
	if err != nil {
		return nil, err
	}
	options := []cel.EnvOption{
		cel.CustomTypeAdapter(r), cel.CustomTypeProvider(r), cel.StdLib(),
		cel.ParserExpressionSizeLimit(16 << 10), cel.ParserRecursionLimit(100),
	}
	for _, v := range variables() {
		options = append(options, cel.Variable(v.name, v.typ))
	}
	env, err := cel.NewCustomEnv(options...)
	if err != nil {
		return nil, err
	}
	l := &language{env: env, values: map[string]map[string][]string{}}
	for _, o := range objects() {
		known := map[string][]string{}
		for _, f := range o.fields {
			if f.values != nil {
				known[f.name] = f.values
			}
		}
		l.values[o.typ.TypeName()] = known
	}
	return l, nil
}

// resources makes the file's own names the only ones that session.resource
// can be compared with.
func (l *language) resources(names []string) {
	l.values[sessionType.TypeName()]["resource"] = names
}

// condition compiles one when. It returns nil after reporting a problem.
func (c *compiler) condition(path, text string) *condition {
	checked, issues := c.language.env.Compile(text)
	if issues.Err() != nil {
		c.doc.Problem(path, "%s", describe(issues))
		return nil
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		c.doc.Problem(path, "is of type %s: write a condition that is true or false", checked.OutputType())
		return nil
	}
	found, err := c.language.inspect(checked)
	if err != nil {
		c.doc.Problem(path, "%v", err)
		return nil
	}
	program, err := c.language.env.Program(checked, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(costLimit))
	if err != nil {
		c.doc.Problem(path, "%v", err)
		return nil
	}
	return &condition{program, found, narrow(checked.NativeRep().Expr())}
}

// describe puts what the checker found into one line.
func describe(issues *cel.Issues) string {
	var found []string
	for _, e := range issues.Errors() {
		found = append(found, fmt.Sprintf("column %d: %s", e.Location.Column()+1, strings.Join(strings.Fields(e.Message), " ")))
	}
	return strings.Join(found, "; ")
}

// holds evaluates the condition. No condition always holds.
func (c *condition) holds(s *scope) (bool, error) {
	if c == nil {
		return true, nil
	}
	if !c.need.metBy(s.op) {
		return false, nil
	}
	s.namesUnknown = c.reads.unknown
	value, _, err := c.program.Eval(s)
	if err != nil {
		return false, err
	}
	answer, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("condition is of type %s", value.Type().TypeName())
	}
	return answer, nil
}
