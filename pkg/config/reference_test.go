package config_test

import (
	"bytes"
	"encoding"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sluicegate/sluice/pkg/config"
)

var update = flag.Bool("update", false, "write the references of configuration files")

// references are the documents, and the structs whose comments they are.
var references = []struct {
	document, program, root, shown string
	files                          []string
}{
	{"../../docs/configuration.md", "sluice-agent", "Agent", "agent.go", []string{"agent.go"}},
	{"../../docs/configuration-collector.md", "sluice-collector", "Config", "pkg/collector", []string{
		"../collector/config.go", "../collector/notify.go", "../collector/retention.go", "../collector/forward.go",
		"../collector/cosign.go",
	}},
}

// TestReferenceIsCurrent makes the references out of the comments in the code
// and compares.
func TestReferenceIsCurrent(t *testing.T) {
	for _, r := range references {
		want := page(t, r.program, r.root, r.shown, parseStructs(t, r.files...))
		if *update {
			if err := os.WriteFile(r.document, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(r.document)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s does not say what %s says: run go generate ./pkg/config", r.document, r.shown)
		}
	}
}

// TestDefaultsAreWhatTheCommentsSay compares "Default: x." with Defaults.
func TestDefaultsAreWhatTheCommentsSay(t *testing.T) {
	var agent config.Agent
	agent.Defaults()
	said := regexp.MustCompile(`Default:\s+(\S+)\.`)
	structs := parseStructs(t, "agent.go")
	var check func(name, path string, v reflect.Value)
	check = func(name, path string, v reflect.Value) {
		for i, f := range structs[name].Fields.List {
			value, at := v.Field(i), path+key(f)
			if nested := typeName(f.Type); structs[nested] != nil {
				if value.Kind() == reflect.Struct {
					check(nested, at+".", value)
				}
				continue
			}
			got, want := "", ""
			if !value.IsZero() {
				got = written(value)
			}
			if match := said.FindStringSubmatch(f.Doc.Text()); match != nil {
				want = match[1]
			}
			if got != want {
				t.Errorf("%s: the default is %q, the comment says %q", at, got, want)
			}
		}
	}
	check("Agent", "", reflect.ValueOf(&agent).Elem())
}

// written is a value as a file has it.
func written(v reflect.Value) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, _ := m.MarshalText()
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}

// page renders a reference. A field without a comment is the second of two that
// one comment is about.
func page(t *testing.T, program, root, shown string, structs map[string]*ast.StructType) []byte {
	t.Helper()
	var out bytes.Buffer
	out.WriteString("# Configuration of " + program + "\n\n" +
		"<!-- Written by go generate ./pkg/config from the comments in " + shown + ". -->\n\n" +
		"One YAML file. Unknown keys are errors, and all errors are reported at once. Relative paths\n" +
		"are relative to the file. Durations are written as in `90s`, sizes as in `64KiB` or `1GiB`.\n")
	var section func(name, path string)
	section = func(name, path string) {
		var nested []func()
		fields := structs[name].Fields.List
		for i, f := range fields {
			at, inner := path+key(f), typeName(f.Type)
			if structs[inner] == nil {
				if i > 0 && said(f) == "" {
					continue
				}
				keys := "**`" + at + "`**"
				for _, next := range fields[i+1:] {
					if said(next) != "" || structs[typeName(next.Type)] != nil {
						break
					}
					keys += ", **`" + path + key(next) + "`**"
				}
				fmt.Fprintf(&out, "\n- %s (%s)%s\n", keys, kind(inner), colon(said(f)))
				continue
			}
			if _, list := f.Type.(*ast.ArrayType); list {
				at += "[]"
			}
			nested = append(nested, func() {
				fmt.Fprintf(&out, "\n## `%s`\n\n%s\n", at, capital(said(f)))
				section(inner, at+".")
			})
		}
		for _, write := range nested {
			write()
		}
	}
	section(root, "")
	return out.Bytes()
}

// said is what the code says of a field, above it or beside it.
func said(f *ast.Field) string {
	if f.Doc == nil {
		return strings.TrimSpace(f.Comment.Text())
	}
	return sentence(f.Doc.Text())
}

// colon puts a text behind a key.
func colon(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// parseStructs returns the structs of files.
func parseStructs(t *testing.T, files ...string) map[string]*ast.StructType {
	t.Helper()
	structs := map[string]*ast.StructType{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					structs[spec.Name.Name] = s
				}
			}
			return true
		})
	}
	return structs
}

// key is a field's name in the file.
func key(f *ast.Field) string {
	return reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("yaml")
}

// typeName is a field's type without brackets.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.ArrayType:
		return typeName(e.Elt)
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// kind says what to write for a type.
func kind(name string) string {
	if words := map[string]string{"string": "text", "uint16": "number", "int": "number", "bool": "true or false"}; words[name] != "" {
		return words[name]
	}
	return strings.ToLower(name)
}

// capital begins a paragraph.
func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// sentence is a comment on one line, without the Go name that it begins with.
func sentence(comment string) string {
	text := strings.Join(strings.Fields(comment), " ")
	first, rest, _ := strings.Cut(text, " ")
	if both, after, _ := strings.Cut(rest, " "); both == "and" { // of two fields
		_, rest, _ = strings.Cut(after, " ")
		return strings.TrimPrefix(rest, "are ")
	}
	if verb, after, _ := strings.Cut(rest, " "); verb == "is" {
		rest = after
	}
	if first == "URL" && strings.HasPrefix(rest, "of ") {
		rest = "the URL " + rest
	}
	return rest
}
