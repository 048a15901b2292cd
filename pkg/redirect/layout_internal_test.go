package redirect

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// fingerprint is that of the maps of layout 1. When it changes, so did what the
// maps contain: raise LAYOUT_VERSION in maps.h, then write the new one here. Only
// a map that is new, and may begin empty, leaves the version as it is.
const fingerprint = "4ceb3dfcea8ba212"

func TestLayoutHasANewVersionWhenItChanges(t *testing.T) {
	spec, err := loadRedirect()
	must(t, err)
	var text strings.Builder
	for _, name := range sortedNames(spec.Maps) {
		if name == redirectMapCounters { // a new counter only starts the counts anew
			continue
		}
		m := spec.Maps[name]
		_, _ = fmt.Fprintf(&text, "%s %s %d %d %d\n", name, m.Type, m.KeySize, m.ValueSize, m.MaxEntries)
		describe(&text, m.Key)
		describe(&text, m.Value)
	}
	for _, name := range []string{"enrolment", "drop"} { // what the ring buffers hold
		var event *btf.Struct
		must(t, spec.Types.TypeByName(name, &event))
		describe(&text, event)
	}
	if got := fmt.Sprintf("%x", sha256.Sum256([]byte(text.String())))[:16]; got != fingerprint {
		t.Errorf("layout %d has fingerprint %s, want %s; it is of\n%s",
			redirectLayoutLAYOUT_VERSION, got, fingerprint, text.String())
	}
}

// describe writes the members of a structure and where they stand.
func describe(w io.Writer, typ btf.Type) {
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Struct:
		for _, m := range typ.Members {
			_, _ = fmt.Fprintf(w, "  %s %d\n", m.Name, m.Offset.Bytes())
			describe(w, m.Type)
		}
	case *btf.Array:
		_, _ = fmt.Fprintf(w, "  %d of\n", typ.Nelems)
		describe(w, typ.Type)
	case *btf.Enum:
		for _, v := range typ.Values {
			if typ.Name != "layout" {
				_, _ = fmt.Fprintf(w, "  %s = %d\n", v.Name, v.Value)
			}
		}
	case *btf.Int:
		_, _ = fmt.Fprintf(w, "  %d bytes\n", typ.Size)
	}
}

func sortedNames[T any](m map[string]T) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
