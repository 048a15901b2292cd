//go:build !race

package mysqltext_test

// spilled is how many allocations a text of a known shape may cost: none, but
// for a collection of garbage that empties the pool.
const spilled = 0.5
