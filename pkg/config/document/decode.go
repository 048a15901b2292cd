package document

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode fills into, a pointer to a struct whose fields carry yaml tags, and
// adds a problem for each value that does not fit. What does not fit is left
// at its zero value. Supported are structs, pointers to them, slices, maps
// from string, strings, booleans, integers and encoding.TextUnmarshaler.
func (d *Document) Decode(into any) {
	if d.root == nil {
		d.Problem("", "is empty")
		return
	}
	d.value("", d.root, reflect.ValueOf(into).Elem())
}

// value decodes one node.
func (d *Document) value(path string, node *yaml.Node, into reflect.Value) {
	d.places[path] = place{node.Line, node.Column}
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		d.Problem(path, "anchors and aliases are not supported: write the value out")
		return
	case node.Style&yaml.TaggedStyle != 0:
		d.Problem(path, "YAML tags are not supported: write the plain value")
		return
	}
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok && node.Tag != "!!null" || ok && node.Value != "" {
		d.text(path, node, text)
		return
	}
	if node.Tag == "!!null" {
		d.Problem(path, "is empty: write a value or leave the key out")
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(path, node, into.Elem())
	case reflect.Struct:
		d.fields(path, node, into)
	case reflect.Map:
		d.entries(path, node, into)
	case reflect.Slice:
		d.items(path, node, into)
	default:
		d.scalar(path, node, into)
	}
}

// text decodes a value whose type parses itself.
func (d *Document) text(path string, node *yaml.Node, into encoding.TextUnmarshaler) {
	if node.Kind != yaml.ScalarNode {
		d.Problem(path, "is a %s: write a single value", kindName(node))
		return
	}
	if err := into.UnmarshalText([]byte(node.Value)); err != nil {
		d.Problem(path, "%v", err)
	}
}

// fields decodes a mapping whose keys are known.
func (d *Document) fields(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.Problem(path, "is a %s: write a mapping of %s", kindName(node), strings.Join(keys(into.Type()), ", "))
		return
	}
	for key, value := range d.pairs(path, node) {
		at := join(path, key.Value)
		index := slices.Index(keys(into.Type()), key.Value)
		if index < 0 {
			d.places[at] = place{key.Line, key.Column}
			d.Problem(at, "unknown key: the keys here are %s", strings.Join(keys(into.Type()), ", "))
			continue
		}
		d.value(at, value, into.Field(index))
	}
}

// entries decodes a mapping whose keys are free.
func (d *Document) entries(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.MappingNode {
		d.Problem(path, "is a %s: write a mapping", kindName(node))
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for key, value := range d.pairs(path, node) {
		entry := reflect.New(into.Type().Elem()).Elem()
		d.value(join(path, key.Value), value, entry)
		into.SetMapIndex(reflect.ValueOf(key.Value), entry)
	}
}

// pairs yields the keys and values of a mapping; a key that is no plain
// string or that comes twice is a problem and left out.
func (d *Document) pairs(path string, node *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		seen := map[string]int{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			at := join(path, key.Value)
			if key.Kind != yaml.ScalarNode || key.Tag == "!!merge" || key.Tag == "!!null" || key.Anchor != "" {
				d.places[at] = place{key.Line, key.Column}
				d.Problem(at, "is not a plain key: write a word")
				continue
			}
			if first, twice := seen[key.Value]; twice {
				d.Problem(at, "is written twice, on lines %d and %d: keep one", first, key.Line)
				continue
			}
			seen[key.Value] = key.Line
			if !yield(key, value) {
				return
			}
		}
	}
}

// items decodes a sequence.
func (d *Document) items(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.SequenceNode {
		d.Problem(path, "is a %s: write a list, as in [a, b]", kindName(node))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		d.value(fmt.Sprintf("%s[%d]", path, i), item, into.Index(i))
	}
}

// scalar decodes a single value of a basic type.
func (d *Document) scalar(path string, node *yaml.Node, into reflect.Value) {
	if node.Kind != yaml.ScalarNode {
		d.Problem(path, "is a %s: write a single value", kindName(node))
		return
	}
	switch into.Kind() {
	case reflect.String:
		into.SetString(node.Value)
	case reflect.Bool:
		if node.Tag != "!!bool" {
			d.Problem(path, "%q is not true or false", node.Value)
			return
		}
		into.SetBool(strings.EqualFold(node.Value, "true"))
	case reflect.Int, reflect.Int64, reflect.Uint16:
		d.integer(path, node, into)
	default:
		panic(fmt.Sprintf("document: no decoding for %s at %s", into.Type(), path))
	}
}

// integer decodes a decimal number within the field's range.
func (d *Document) integer(path string, node *yaml.Node, into reflect.Value) {
	number, err := strconv.ParseInt(node.Value, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != node.Value {
		d.Problem(path, "%q is not a decimal number", node.Value)
		return
	}
	if into.Kind() != reflect.Uint16 {
		into.SetInt(number)
		return
	}
	if number < 0 || number > 65535 {
		d.Problem(path, "%d is out of range: write a number from 0 to 65535", number)
		return
	}
	into.SetUint(uint64(number))
}

// keys lists the yaml keys of a struct's fields, in their order.
func keys(of reflect.Type) []string {
	names := make([]string, of.NumField())
	for i := range names {
		names[i] = of.Field(i).Tag.Get("yaml")
	}
	return names
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// kindName says what a node is, for people.
func kindName(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "mapping"
	case yaml.SequenceNode:
		return "list"
	default:
		return "single value"
	}
}
