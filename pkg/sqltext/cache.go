package sqltext

// Analyses are remembered by shape where no literal matters and by whole text
// elsewhere. The nil analysis of a shape says that its texts are remembered one
// by one.
const (
	maxCacheEntries = 8192
	maxCacheBytes   = 16 << 20
)

// statementOverhead is what a statement costs beside its names, in bytes, roughly.
const statementOverhead = 512

// Spaces keep apart what the same key means under different options, and shapes
// from texts.
const (
	ofText = uint8(1) << iota
	ofConformingStrings
	ofUTF8
	ofBuiltinNames
	keySpaces
)

func (opt Options) space() uint8 {
	var s uint8
	if opt.StandardConformingStrings {
		s |= ofConformingStrings
	}
	if opt.UTF8 {
		s |= ofUTF8
	}
	if opt.BuiltinNames {
		s |= ofBuiltinNames
	}
	return s
}

// size returns what an analysis holds, in bytes, roughly.
func (a *Analysis) size() int {
	if a == nil {
		return 0
	}
	n := 0
	for i := range a.Statements {
		st := &a.Statements[i]
		n += statementOverhead
		for _, names := range [...][]string{
			st.Relations, st.Columns, st.Functions, st.Writes, st.Refs, st.Aliases, st.Calls, st.Operators, st.Types,
		} {
			for _, name := range names {
				n += 16 + len(name)
			}
		}
		n += st.Lineage.Size()
		if st.CopyTo != nil {
			n += len(st.CopyTo.Query)
		}
		for _, effect := range st.Effects {
			n += 64 + len(effect.Name)
			for _, v := range effect.Values {
				n += 16 + len(v)
			}
		}
	}
	return n
}
