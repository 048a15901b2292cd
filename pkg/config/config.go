// Package config reads the programs' configuration files into values that are
// checked before anything starts.
//
// One YAML file per program, decoded strictly: an unknown key is an error, and
// all errors of a file come at once, each with its line, its path and what to
// write instead. Nothing in a file is expanded, and no environment variable is
// read. Secrets stand in files of their own that the configuration names.
//
// The package does not open what a file names, except the file itself; whether
// a key fits or a server answers is for those who use them.
package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"

	"github.com/sluicegate/sluice/pkg/config/document"
)

//go:generate sh -c "go test -run TestReferenceIsCurrent -update . >/dev/null"

// Problems collects what is wrong with a file. Path names the value, as in
// spool.limit; the message says what to write instead.
type Problems func(path, format string, args ...any)

// Settings is a program's configuration.
type Settings[T any] interface {
	*T
	// Defaults sets what holds where the file says nothing. It is called
	// before the file is decoded.
	Defaults()
	// Validate reports each problem. It is called also when the file did not
	// decode; a value that did not fit is then zero, and what is reported
	// about it here is dropped.
	Validate(report Problems)
}

// Load reads the file at path: config.Load[config.Agent](path).
func Load[T any, S Settings[T]](path string) (T, error) {
	var zero T
	file, err := os.Open(path)
	if err != nil {
		return zero, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(file, document.MaxBytes+1))
	if err != nil {
		return zero, fmt.Errorf("read configuration: %w", err)
	}
	return Parse[T, S](path, data)
}

// Parse does what Load does with a file that is already read. Paths in the
// file are relative to the directory of path.
func Parse[T any, S Settings[T]](path string, data []byte) (T, error) {
	var zero, settings T
	doc, err := document.Parse(path, data)
	if err != nil {
		return zero, err
	}
	S(&settings).Defaults()
	doc.Decode(&settings)
	resolve(reflect.ValueOf(&settings).Elem(), filepath.Dir(path))
	S(&settings).Validate(doc.Problem)
	if err := doc.Err(); err != nil {
		return zero, err
	}
	return settings, nil
}

// resolve makes every Path in v relative to dir.
func resolve(v reflect.Value, dir string) {
	if v.Type() == reflect.TypeFor[Path]() {
		if p := v.String(); p != "" && !filepath.IsAbs(p) {
			v.SetString(filepath.Join(dir, p))
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			resolve(v.Elem(), dir)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				resolve(v.Field(i), dir)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			resolve(v.Index(i), dir)
		}
	}
}
