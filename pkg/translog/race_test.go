//go:build race

package translog_test

// stride thins out what takes minutes under the race detector, which looks for
// something else.
const stride = 101
