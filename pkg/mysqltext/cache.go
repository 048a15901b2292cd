package mysqltext

// Analyses are remembered by shape where no literal matters and by whole text
// elsewhere. The nil analysis of a shape says that its texts are remembered one
// by one.
const (
	maxCacheEntries = 8192
	maxCacheBytes   = 16 << 20
)

// statementOverhead is what a statement costs beside its names, in bytes, roughly.
const statementOverhead = 512

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
			st.Relations, st.Columns, st.Functions, st.Writes, st.Aliases, st.Calls,
		} {
			for _, name := range names {
				n += 16 + len(name)
			}
		}
		n += st.Lineage.Size()
		for _, effect := range st.Effects {
			n += 64 + len(effect.Name)
			for _, v := range effect.Values {
				n += 16 + len(v)
			}
		}
	}
	return n
}
