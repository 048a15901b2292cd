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

var update = flag.Bool("update", false, "write docs/configuration.md")

const reference = "../../docs/configuration.md"

// TestReferenceIsCurrent makes docs/configuration.md out of the comments in
// agent.go and compares.
func TestReferenceIsCurrent(t *testing.T) {
	want := page(t)
	if *update {
		if err := os.WriteFile(reference, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/configuration.md does not say what agent.go says: run go generate ./pkg/config")
	}
}

// TestDefaultsAreWhatTheCommentsSay compares "Default: x." with Defaults.
func TestDefaultsAreWhatTheCommentsSay(t *testing.T) {
	var agent config.Agent
	agent.Defaults()
	said := regexp.MustCompile(`Default:\s+(\S+)\.`)
	structs := parseStructs(t)
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

// page renders the reference.
func page(t *testing.T) []byte {
	structs := parseStructs(t)
	var out bytes.Buffer
	out.WriteString("# Configuration of sluice-agent\n\n" +
		"<!-- Written by go generate ./pkg/config from the comments in agent.go. -->\n\n" +
		"One YAML file. Unknown keys are errors, and all errors are reported at once. Relative paths\n" +
		"are relative to the file. Durations are written as in `90s`, sizes as in `64KiB` or `1GiB`.\n")
	var section func(name, path string)
	section = func(name, path string) {
		var nested []func()
		for _, f := range structs[name].Fields.List {
			at := path + key(f)
			inner := typeName(f.Type)
			if structs[inner] == nil {
				fmt.Fprintf(&out, "\n- **`%s`** (%s): %s\n", at, kind(inner), sentence(f.Doc.Text()))
				continue
			}
			if _, list := f.Type.(*ast.ArrayType); list {
				at += "[]"
			}
			nested = append(nested, func() {
				fmt.Fprintf(&out, "\n## `%s`\n\n%s\n", at, capital(sentence(f.Doc.Text())))
				section(inner, at+".")
			})
		}
		for _, write := range nested {
			write()
		}
	}
	section("Agent", "")
	return out.Bytes()
}

// parseStructs returns the structs of agent.go.
func parseStructs(t *testing.T) map[string]*ast.StructType {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "agent.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = s
			}
		}
		return true
	})
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
	}
	return ""
}

// kind says what to write for a type.
func kind(name string) string {
	if words := map[string]string{"string": "text", "uint16": "number"}; words[name] != "" {
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
	if verb, after, _ := strings.Cut(rest, " "); verb == "is" {
		rest = after
	}
	if first == "URL" {
		rest = "the URL " + rest
	}
	return rest
}
