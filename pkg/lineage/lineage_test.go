package lineage_test

import (
	"reflect"
	"strconv"
	"testing"

	"github.com/sluicegate/sluice/pkg/lineage"
)

func of(columns ...string) (sources []lineage.Source) {
	for _, c := range columns {
		sources = append(sources, lineage.Source{Relation: "t", Column: c})
	}
	return sources
}

// SELECT a, t.*, b: nobody knows how many columns the star is.
func TestAStarMovesWhatIsBehindIt(t *testing.T) {
	var b lineage.Budget
	star := lineage.Star([]*lineage.Item{{Name: "t", Relation: "t"}}, &b)
	trace := lineage.Trace{Outputs: []lineage.Output{{Sources: of("a")}, star, {Sources: of("b")}}}
	for i, want := range [][]lineage.Source{of("a"), of("*"), of("*"), of("b")} {
		if got := trace.At(i, 4); got.Unknown || !reflect.DeepEqual(got.Sources, want) {
			t.Errorf("column %d of 4 comes from %v, unknown %v; want %v", i, got.Sources, got.Unknown, want)
		}
	}
	if got := trace.At(0, 1); !got.Unknown {
		t.Errorf("of fewer columns than the text has, the first comes from %v", got.Sources)
	}
	if got := star.Column("email"); got.Unknown || !got.Direct || !reflect.DeepEqual(got.Sources, of("email")) {
		t.Errorf("the star's column is %+v", got)
	}
}

// FROM (SELECT a, b FROM t) AS q (x, …)
func TestNewNames(t *testing.T) {
	var b lineage.Budget
	outputs := []lineage.Output{{Name: "a", Sources: of("a"), Direct: true}, {Name: "b", Sources: of("b"), Direct: true}}
	for _, test := range []struct {
		names  []string
		column string
		found  bool
		want   []lineage.Source
	}{
		{nil, "a", true, of("a")},
		{[]string{"x"}, "x", true, of("a")},
		{[]string{"x"}, "a", false, nil},
		{[]string{"x"}, "b", true, of("b")},
		{[]string{"x", "y", "z"}, "z", true, of("a", "b")}, // more than there are: whose is whose, nobody knows
	} {
		item := &lineage.Item{Name: "q", Outputs: outputs}
		item.Rename(test.names)
		got, found := item.Column(test.column, &b)
		if found != test.found || !reflect.DeepEqual(got.Sources, test.want) {
			t.Errorf("with names %v column %s comes from %v, found %v; want %v, %v", test.names, test.column, got.Sources, found, test.want, test.found)
		}
	}
	if outputs[0].Name != "a" {
		t.Error("an item's new names are its query's")
	}
}

func TestTooMuchIsUnknown(t *testing.T) {
	var many lineage.Output
	for i := range 300 {
		many.Add(lineage.Output{Sources: of(strconv.Itoa(i))})
	}
	if !many.Unknown {
		t.Errorf("a value of 300 columns has %d sources and is known", len(many.Sources))
	}

	// Each level reads the one below twice.
	item := &lineage.Item{Name: "t", Relation: "t"}
	var b lineage.Budget
	for range 40 {
		item = &lineage.Item{Outputs: []lineage.Output{lineage.Star([]*lineage.Item{item, item}, &b)}}
	}
	if item.Column("a", &b); !b.Spent() {
		t.Error("2⁴⁰ looks were taken")
	}
	if got, found := item.Column("a", &b); !found || !got.Unknown {
		t.Errorf("when nothing may be looked at any more, a column is %+v, found %v", got, found)
	}
}

// A query that reads itself, and a set operation of results that do not fit.
func TestWhatMayBeAny(t *testing.T) {
	outputs := []lineage.Output{{Name: "a", Sources: of("a"), Direct: true}, {Name: "b", Sources: of("b"), Direct: true}}
	for _, o := range lineage.Blur(outputs) {
		if o.Direct || !reflect.DeepEqual(o.Sources, of("a", "b")) {
			t.Errorf("column %s of a recursive query is %+v", o.Name, o)
		}
	}
	got := lineage.Zip(outputs, outputs[:1])
	if len(got) != 1 || !got[0].Star || !reflect.DeepEqual(got[0].Sources, of("a", "b")) {
		t.Errorf("a union of two columns and one is %+v", got)
	}
	if got = lineage.Zip(outputs, outputs); len(got) != 2 || got[1].Name != "b" || !got[1].Direct {
		t.Errorf("a union with itself is %+v", got)
	}
}
