//go:build !race

package translog_test

// stride: every bit counts.
const stride = 1
