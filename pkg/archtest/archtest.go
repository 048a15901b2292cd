// Package archtest holds the project's layers as data and finds what breaks
// them: an import that the table does not allow, a library used outside its
// owner, a package without a comment, a file that has grown too long, a
// replaced module, a log call that could print what a job wrote.
//
// It reads sources and compiles nothing, so it sees every file whatever its
// build tags. It judges neither names nor behaviour.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"
)

// maxLines is how long a hand-written file may be.
const maxLines = 400

// file is one Go source.
type file struct {
	path      string // within the module, with slashes
	dir       string // of path; the package's path within the module
	test      bool
	generated bool
	lines     int
	syntax    *ast.File
	imports   []string
}

// Check returns what breaks the rules in a module's tree, sorted.
func Check(tree fs.FS) ([]string, error) {
	replaced, module, err := checkModule(tree)
	if err != nil {
		return nil, err
	}
	files, err := sources(tree)
	if err != nil {
		return nil, err
	}
	findings := slices.Concat(replaced, packages(files))
	for _, f := range files {
		findings = append(findings, f.check(module)...)
	}
	slices.Sort(findings)
	return slices.Compact(findings), nil
}

// checkModule finds replace directives, which `go install` of the programs
// would refuse, and the module's path.
func checkModule(tree fs.FS) (findings []string, module string, err error) {
	text, err := fs.ReadFile(tree, "go.mod")
	if err != nil {
		return nil, "", err
	}
	parsed, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		return nil, "", err
	}
	for _, r := range parsed.Replace {
		findings = append(findings, fmt.Sprintf("go.mod: replaces %s: depend on a released version", r.Old.Path))
	}
	return findings, parsed.Module.Mod.Path, nil
}

// sources parses every Go file of the module; nested modules and testdata are
// not part of it.
func sources(tree fs.FS) ([]file, error) {
	var files []file
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skip(tree, name, entry)
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		f, err := parse(tree, name)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// skip keeps the walk inside the module.
func skip(tree fs.FS, name string, entry fs.DirEntry) error {
	if name == "." {
		return nil
	}
	hidden := strings.HasPrefix(entry.Name(), ".") || strings.HasPrefix(entry.Name(), "_")
	if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil || hidden || entry.Name() == "testdata" {
		return fs.SkipDir
	}
	return nil
}

// parse reads one file.
func parse(tree fs.FS, name string) (file, error) {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return file{}, err
	}
	syntax, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	f := file{
		path: name, dir: path.Dir(name), syntax: syntax,
		test:      strings.HasSuffix(name, "_test.go"),
		generated: ast.IsGenerated(syntax),
		lines:     strings.Count(string(text), "\n"),
	}
	for _, spec := range syntax.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, imported)
	}
	return f, nil
}

// check finds what is wrong with one file.
func (f file) check(module string) []string {
	var findings []string
	if f.lines > maxLines && !f.generated {
		findings = append(findings, fmt.Sprintf("%s: has %d lines: split it, the limit is %d", f.path, f.lines, maxLines))
	}
	if !f.test {
		findings = append(findings, f.revealing()...)
	}
	for _, imported := range f.imports {
		problem := ""
		if ours, found := strings.CutPrefix(imported, module+"/"); found {
			problem = f.mayImport(ours)
		} else {
			problem = f.mayUse(imported)
		}
		if problem != "" {
			findings = append(findings, fmt.Sprintf("%s: %s", f.path, problem))
		}
	}
	return findings
}

// revealing finds log fields that take bytes as they are: operation.Text
// would go through them unmasked.
func (f file) revealing() []string {
	var findings []string
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || !calls(call, "zap", rawFields...) || len(call.Args) != 2 {
			return true
		}
		if stack, ok := call.Args[1].(*ast.CallExpr); !ok || !calls(stack, "debug", "Stack") {
			findings = append(findings, f.path+": a raw zap field prints bytes that a job may have written: log their number")
		}
		return true
	})
	return findings
}

// calls reports whether a call is of one of these functions of a package.
func calls(call *ast.CallExpr, pkg string, functions ...string) bool {
	name, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := name.X.(*ast.Ident)
	return ok && from.Name == pkg && slices.Contains(functions, name.Sel.Name)
}

// packages finds packages without a package comment or without a layer.
func packages(files []file) []string {
	said := map[string]bool{}
	for _, f := range files {
		if !f.test {
			said[f.dir] = said[f.dir] || f.syntax.Doc != nil
		}
	}
	var findings []string
	for dir, has := range said {
		if !has {
			findings = append(findings, dir+": has no package comment: say what it promises and what it does not do")
		}
		if name, ours := strings.CutPrefix(dir, "pkg/"); ours && layer(name) < 0 {
			findings = append(findings, dir+": has no layer: add it to pkg/archtest/layers.go")
		}
	}
	return findings
}
