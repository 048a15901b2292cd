package mysqltext

import (
	"reflect"
	"strings"
	"sync"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// treePackage holds the types of the syntax tree. Nothing else is looked into.
const treePackage = "github.com/pingcap/tidb/pkg/parser/ast"

// lockType names what FROM already did, by alias.
var lockType = reflect.TypeFor[*ast.SelectLockInfo]()

// fields remembers, by type, which fields of a node may hold nodes.
var fields sync.Map // of reflect.Type to []int

// children calls visit for every part of a node, by reflection, so that a kind
// of node which nobody thought of still has its relations and functions seen.
// Parts that are no nodes of their own are looked through.
func children(node ast.Node, visit func(ast.Node)) {
	v := reflect.ValueOf(node)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return
	}
	if v.Elem().Kind() == reflect.Struct {
		structParts(v.Elem(), visit)
	}
}

func parts(v reflect.Value, visit func(ast.Node)) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return
		}
		if v.Kind() == reflect.Interface {
			parts(v.Elem(), visit)
			return
		}
		if v.Elem().Kind() != reflect.Struct || !ofTree(v.Elem().Type()) {
			return
		}
		if node, ok := v.Interface().(ast.Node); ok {
			visit(node)
			return
		}
		parts(v.Elem(), visit)
	case reflect.Slice:
		for i := range v.Len() {
			parts(v.Index(i), visit)
		}
	case reflect.Struct:
		if v.CanAddr() && v.Addr().CanInterface() {
			if node, ok := v.Addr().Interface().(ast.Node); ok && !inside(node) {
				visit(node)
				return
			}
		}
		structParts(v, visit)
	}
}

// inside reports whether a struct that is held by value is looked through where
// it stands. WindowSpec is the one that is a node.
func inside(node ast.Node) bool {
	_, window := node.(*ast.WindowSpec)
	return !window
}

func structParts(v reflect.Value, visit func(ast.Node)) {
	for _, i := range partFields(v.Type()) {
		parts(v.Field(i), visit)
	}
}

func partFields(t reflect.Type) []int {
	if known, ok := fields.Load(t); ok {
		return known.([]int)
	}
	var found []int
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && holds(f.Type) && f.Type != lockType {
			found = append(found, i)
		}
	}
	fields.Store(t, found)
	return found
}

// holds reports whether a value of the type may hold nodes.
func holds(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Interface:
		return true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return holds(t.Elem())
	case reflect.Struct:
		return ofTree(t)
	}
	return false
}

func ofTree(t reflect.Type) bool { return strings.HasPrefix(t.PkgPath(), treePackage) }
