//go:build race

package mysqltext_test

// spilled: under the race detector a pool loses some of what is put into it.
const spilled = 50
