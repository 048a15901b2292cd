package operation

import "unicode"

// Visible reports whether a character shows something, or is a space, wherever
// text is shown: no control character, nothing that turns the direction, and
// none of the letters and marks that leave no trace. Unicode calls those ignorable by
// default (DerivedCoreProperties.txt); the braille blank is not one by name only.
func Visible(r rune) bool {
	const brailleBlank = '\u2800'
	return unicode.IsPrint(r) && r != brailleBlank &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
