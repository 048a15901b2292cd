package policy

import (
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/sluicegate/sluice/pkg/operation"
	"github.com/sluicegate/sluice/pkg/session"
	"github.com/sluicegate/sluice/pkg/workload"
)

// registry tells CEL of our objects and wraps the Go values behind them. What
// it does not know is left to CEL's own registry.
type registry struct {
	*types.Registry
	objects map[string]map[string]*types.FieldType
	names   map[string][]string
}

// newRegistry returns a registry of all objects.
func newRegistry() (*registry, error) {
	base, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	r := &registry{base, map[string]map[string]*types.FieldType{}, map[string][]string{}}
	for _, o := range objects() {
		fields := map[string]*types.FieldType{}
		for _, f := range o.fields {
			fields[f.name] = f.describe()
			r.names[o.typ.TypeName()] = append(r.names[o.typ.TypeName()], f.name)
		}
		r.objects[o.typ.TypeName()] = fields
	}
	return r, nil
}

// describe returns the field in CEL's terms. A field without a presence test
// of its own is set when it is not the zero value or empty.
func (f field) describe() *types.FieldType {
	isSet := f.isSet
	if isSet == nil {
		isSet = func(v any) bool {
			value := reflect.ValueOf(f.get(v))
			if kind := value.Kind(); kind == reflect.Map || kind == reflect.Slice {
				return value.Len() > 0
			}
			return !value.IsZero()
		}
	}
	return &types.FieldType{
		Type:  f.typ,
		IsSet: isSet,
		GetFrom: func(v any) (any, error) {
			value := f.get(v)
			if err, ok := value.(error); ok {
				return nil, err
			}
			return value, nil
		},
	}
}

// FindStructType returns the type of an object.
func (r *registry) FindStructType(name string) (*types.Type, bool) {
	if _, ok := r.objects[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return r.Registry.FindStructType(name)
}

// FindStructFieldNames returns the names of an object's fields.
func (r *registry) FindStructFieldNames(name string) ([]string, bool) {
	if names, ok := r.names[name]; ok {
		return names, true
	}
	return r.Registry.FindStructFieldNames(name)
}

// FindStructFieldType returns how to read a field.
func (r *registry) FindStructFieldType(name, fieldName string) (*types.FieldType, bool) {
	if fields, ok := r.objects[name]; ok {
		found, ok := fields[fieldName]
		return found, ok
	}
	return r.Registry.FindStructFieldType(name, fieldName)
}

// NativeToValue wraps a Go value for CEL.
func (r *registry) NativeToValue(v any) ref.Val {
	switch v := v.(type) {
	case *statement:
		return wrapped{statementType, v}
	case []*statement:
		return types.NewDynamicList(r, v)
	case *scope:
		return wrapped{operationType, v}
	case *sqlScope:
		return wrapped{sqlType, v}
	case *operation.Context:
		return wrapped{contextType, v}
	case *operation.SSH:
		return wrapped{sshType, v}
	case []operation.SSHCommand:
		return types.NewDynamicList(r, v)
	case operation.SSHCommand:
		return wrapped{commandType, &v}
	case *gitScope:
		return wrapped{gitType, v}
	case []*gitRef:
		return types.NewDynamicList(r, v)
	case *gitRef:
		return wrapped{gitRefType, v}
	case *operation.Kube:
		return wrapped{kubeType, v}
	case *operation.HTTP:
		return wrapped{httpType, v}
	case *session.Session:
		return wrapped{sessionType, v}
	case *workload.KernelFacts:
		return wrapped{kernelType, v}
	case *workload.OrchFacts:
		return wrapped{orchType, v}
	case *workload.Claims:
		return wrapped{claimedType, v}
	case *workload.Agent:
		return wrapped{agentType, v}
	case wrapped:
		return v
	case []string:
		return types.NewStringList(r, v)
	}
	return r.Registry.NativeToValue(v)
}

// wrapped is an object as a CEL value. CEL reads its fields through the
// registry.
type wrapped struct {
	typ    *cel.Type
	native any // a pointer
}

// ConvertToNative fails: nothing outside CEL asks for objects.
func (w wrapped) ConvertToNative(reflect.Type) (any, error) {
	return nil, errNotConvertible
}

// ConvertToType converts to the object's own type and to type(object) only.
func (w wrapped) ConvertToType(to ref.Type) ref.Val {
	switch to {
	case types.TypeType:
		return w.typ
	case w.typ:
		return w
	}
	return types.NewErr("%s", errNotConvertible)
}

// Equal reports identity.
func (w wrapped) Equal(other ref.Val) ref.Val {
	o, ok := other.(wrapped)
	return types.Bool(ok && o == w)
}

// Type returns the object's type.
func (w wrapped) Type() ref.Type { return w.typ }

// Value returns the Go value behind the object.
func (w wrapped) Value() any { return w.native }
