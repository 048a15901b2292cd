package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluicegate/sluice/pkg/config/document"
	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// Test asks the policy about each case of a file and returns one line for each
// that it answers differently from what the case expects. Name is what
// problems call the file. The error joins every problem of the file itself.
// docs/policy.md explains the format.
func (p *Policy) Test(name string, data []byte) (failures []string, err error) {
	doc, err := document.Parse(name, data)
	if err != nil {
		return nil, err
	}
	var f casesFile
	doc.Decode(&f)
	if len(f.Cases) == 0 {
		doc.Problem("cases", "is missing: list what to ask")
	}
	for i := range f.Cases {
		f.Cases[i].validate(fmt.Sprintf("cases[%d]", i), p, doc)
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	for _, c := range f.Cases {
		if err := c.run(p); err != nil {
			failures = append(failures, fmt.Sprintf("%s: %s: %v", name, c.Name, err))
		}
	}
	return failures, nil
}

// casesFile is a file of cases.
type casesFile struct {
	Cases []caseClause `yaml:"cases"`
}

// caseClause is one question and its answer.
type caseClause struct {
	Name     string       `yaml:"name"`
	Resource string       `yaml:"resource"`
	Who      whoClause    `yaml:"who"`
	Op       opClause     `yaml:"op"`
	Expect   expectClause `yaml:"expect"`
}

// whoClause is the workload that asks.
type whoClause struct {
	Assurance string            `yaml:"assurance"` // "A0" to "A4"; empty is A0
	Exe       string            `yaml:"exe"`
	UID       int               `yaml:"uid"`
	Container string            `yaml:"container"`
	Name      string            `yaml:"name"`
	Image     string            `yaml:"image"`
	PodName   string            `yaml:"pod_name"`
	Namespace string            `yaml:"namespace"`
	Labels    map[string]string `yaml:"labels"`
	Taints    []string          `yaml:"taints"`
	Verified  map[string]string `yaml:"verified"`
	Env       map[string]string `yaml:"env"`
	Command   []string          `yaml:"command"`
	Agent     string            `yaml:"agent"`
	Product   string            `yaml:"product"`
}

// opClause is what is asked for. Without a kind it is a statement.
type opClause struct {
	Kind          string         `yaml:"kind"`
	Unparsed      bool           `yaml:"unparsed"`
	ReadOnly      bool           `yaml:"read_only"`
	Database      string         `yaml:"database"`
	Role          string         `yaml:"role"`
	SearchPath    string         `yaml:"search_path"`
	InTransaction bool           `yaml:"in_transaction"`
	Statements    []statedClause `yaml:"statements"`
	Rows          int64          `yaml:"rows"` // that it changes
	SSH           *sshClause     `yaml:"ssh"`
	Git           *gitClause     `yaml:"git"`
	Kube          *kubeClause    `yaml:"kube"`
	HTTP          *httpClause    `yaml:"http"`
}

// statedClause is one SQL statement of an operation.
type statedClause struct {
	Kind      string   `yaml:"kind"`
	Class     string   `yaml:"class"`
	Relations []string `yaml:"relations"`
	Columns   []string `yaml:"columns"`
	Functions []string `yaml:"functions"`
	HasWhere  bool     `yaml:"has_where"`
	Opaque    bool     `yaml:"opaque"`
}

// expectClause is the answer.
type expectClause struct {
	Effect string `yaml:"effect"`
	Rule   string `yaml:"rule"` // empty: not compared
	User   string `yaml:"user"` // whom the agent logs in as; empty: not compared
}

// validate reports what makes a case mean nothing.
func (c *caseClause) validate(path string, p *Policy, doc *document.Document) {
	if c.Name == "" {
		doc.Problem(path+".name", "is missing: say what the case shows")
	}
	if p.resources[c.Resource] == nil {
		doc.Problem(path+".resource", "there is no resource %q in the policy", c.Resource)
	}
	switch c.Expect.Effect {
	case "allow", "hold", "deny":
	case "":
		if c.Expect.User == "" {
			doc.Problem(path+".expect", "is missing: write an effect or a user")
		}
	default:
		doc.Problem(path+".expect.effect", "%q is not an effect: write allow, hold or deny", c.Expect.Effect)
	}
	if c.Op.Unparsed && c.Op.Statements != nil {
		doc.Problem(path+".op.statements", "has no use: what could not be parsed has no statements")
	}
	word := func(at, value string, known []string) {
		if value != "" && !slices.Contains(known, value) {
			doc.Problem(path+at, "%q is not one of %s", value, strings.Join(known, ", "))
		}
	}
	word(".who.assurance", c.Who.Assurance, []string{"A0", "A1", "A2", "A3", "A4"})
	word(".who.agent", c.Who.Agent, valuesOf(agentObject(), "kind"))
	word(".op.kind", c.Op.Kind, valuesOf(operationObject(), "kind"))
	c.Op.SSH.validate(word)
	c.Op.Git.validate(word)
	c.Op.Kube.validate(word)
	for i, s := range c.Op.Statements {
		word(fmt.Sprintf(".op.statements[%d].class", i), s.Class, valuesOf(statementObject(), "class"))
	}
}

// valuesOf returns all that a field of an object can be.
func valuesOf(o object, name string) []string {
	i := slices.IndexFunc(o.fields, func(f field) bool { return f.name == name })
	return o.fields[i].values
}

// run asks the policy and compares.
func (c *caseClause) run(p *Policy) error {
	s := &session.Session{ID: "case", Resource: c.Resource, Protocol: p.resources[c.Resource].Protocol, Workload: c.Who.workload()}
	var differences []error
	if c.Expect.User != "" {
		source, err := p.Credential(s)
		if err != nil || source.User != c.Expect.User {
			differences = append(differences, fmt.Errorf("got user %q, want %q", source.User, c.Expect.User))
		}
	}
	if c.Expect.Effect == "" {
		return errors.Join(differences...)
	}
	got := p.Evaluate(s, c.Op.operation()).Changed(c.Op.Rows)
	if got.Effect.String() != c.Expect.Effect || c.Expect.Rule != "" && got.Rule != c.Expect.Rule {
		differences = append(differences, fmt.Errorf("got %s by rule %q (%s), want %s by rule %q",
			got.Effect, got.Rule, got.Reason, c.Expect.Effect, c.Expect.Rule))
	}
	return errors.Join(differences...)
}

// workload returns who asks.
func (w *whoClause) workload() workload.Workload {
	verified := map[string]any{}
	for claim, value := range w.Verified {
		verified[claim] = value
	}
	var assurance workload.Assurance
	_ = assurance.UnmarshalText([]byte(w.Assurance)) // validated; what it cannot read is A0
	return workload.Workload{
		Assurance: assurance,
		Kernel:    workload.KernelFacts{Exe: w.Exe, UID: uint32(w.UID), Container: w.Container},
		Orch: workload.OrchFacts{
			Container: w.Container, Name: w.Name, Image: w.Image, PodName: w.PodName, Namespace: w.Namespace,
			Labels: w.Labels, Taints: w.Taints,
		},
		Verified: verified,
		Claimed:  workload.Claims{Command: w.Command, Env: w.Env},
		Agent:    workload.Agent{Kind: workload.AgentKind(w.Agent), Product: w.Product},
	}
}

// operation returns what is asked for.
func (o *opClause) operation() *operation.Operation {
	op := &operation.Operation{
		ID: 1, Kind: operation.Kind(o.Kind), Parsed: !o.Unparsed, ReadOnly: o.ReadOnly,
		Context: operation.Context{Database: o.Database, Role: o.Role, SearchPath: o.SearchPath, InTransaction: o.InTransaction},
	}
	if o.Kind == "" {
		op.Kind = operation.Statement
	}
	op.SSH, op.Git, op.Kube, op.HTTP = o.SSH.asked(), o.Git.asked(), o.Kube.asked(), o.HTTP.asked()
	if o.Statements == nil {
		return op
	}
	op.SQL = &operation.SQL{}
	for _, s := range o.Statements {
		op.SQL.Statements = append(op.SQL.Statements, operation.SQLStatement{
			Kind: s.Kind, Class: operation.Class(s.Class), Relations: s.Relations, Columns: s.Columns,
			Functions: s.Functions, HasWhere: s.HasWhere, Opaque: s.Opaque,
		})
	}
	return op
}
