// Package mask turns a value into a safe value.
//
// It is pure and knows nothing of rows, columns or frames: a protocol plug-in
// finds the value and puts the result back. The result of a method never
// depends on more of the value than the method's comment says.
package mask
