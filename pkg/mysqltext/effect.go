package mysqltext

// EffectKind says what a statement does to its session.
type EffectKind string

// The effects. Those of a statement that fails do not stay, those of a part of
// a statement that fails half-way may: the server's answer tells.
const (
	// SetVariable sets a system variable of the session: Name in lower case,
	// one of "names" and "character set" for SET NAMES and SET CHARACTER SET.
	SetVariable EffectKind = "set"
	SetGlobal   EffectKind = "set-global" // the same of the server, PERSIST too
	Use         EffectKind = "use"        // Name is the default database now
	Prepare     EffectKind = "prepare"    // Name is a prepared statement now
	Deallocate  EffectKind = "deallocate" // Name is none any more
	Begin       EffectKind = "begin"      // a transaction begins, the one before is committed
	Commit      EffectKind = "commit"     // a transaction ends, also where another begins at once
	Rollback    EffectKind = "rollback"
	Assign      EffectKind = "assign"    // the user variable Name has a value: Lineage.Written tells whose
	Temporary   EffectKind = "temporary" // Name is a temporary table now, whatever it was before
	Lock        EffectKind = "lock"      // LOCK TABLES, GET_LOCK and the like: what waits for it hangs
	Unlock      EffectKind = "unlock"
	// SetAnything: the statement may run SQL that is not shown.
	SetAnything EffectKind = "set-anything"
)

// Effect is one thing that a statement does to its session. Values come from
// the text: they are as secret as it is.
type Effect struct {
	Kind EffectKind
	Name string
	// Values are constants that a variable is set to; nil where that is
	// computed, or DEFAULT.
	Values []string
}
