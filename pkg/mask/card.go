package mask

// The digits of a card's number (ISO/IEC 7812).
const (
	leastCard = 13
	mostCard  = 19
)

// findCard finds a card's number: digits, single blanks or hyphens between
// them, nothing that is part of a word or a number around them.
func findCard(value []byte) (start, end int) {
	for i := 0; i < len(value); i++ {
		if value[i] < '0' || value[i] > '9' {
			continue
		}
		stop := numberEnd(value, i)
		if startsAlone(value, i) {
			if end := cardEnd(value, i, stop); end > 0 {
				return i, end
			}
		}
		i = run(value, i, isDigit) - 1
	}
	return -1, -1
}

// startsAlone reports whether a number begins at i: not in a word, and not the
// fraction of another.
func startsAlone(value []byte, i int) bool {
	if i == 0 {
		return true
	}
	c := value[i-1]
	return !isLetter(c) && !isDigit(c) && c != '_' && c < 0x80 && (c != '.' || i == 1 || !isDigit(value[i-2]))
}

// numberEnd returns where a run of digits with single separators ends.
func numberEnd(value []byte, i int) int {
	for i < len(value) {
		switch {
		case isDigit(value[i]):
			i++
		case (value[i] == ' ' || value[i] == '-') && i+1 < len(value) && isDigit(value[i+1]):
			i++
		default:
			return i
		}
	}
	return i
}

// cardEnd returns where a card's number that begins at start ends, or 0. It
// may end before the run does, as in "4111111111111111 2031", but not within a
// group of digits.
func cardEnd(value []byte, start, stop int) int {
	var digits [mostCard]byte
	n, found := 0, 0
	for i := start; i < stop; i++ {
		if !isDigit(value[i]) {
			continue
		}
		if n == mostCard {
			break
		}
		digits[n] = value[i] - '0'
		n++
		alone := i+1 == len(value) || !isDigit(value[i+1]) && !isLetter(value[i+1]) && value[i+1] != '_' && value[i+1] < 0x80
		if n >= leastCard && alone && isCard(digits[:n]) {
			found = i + 1
		}
	}
	return found
}

// isCard reports whether digits have a network's prefix and length and a right
// check digit.
func isCard(digits []byte) bool {
	four := int(digits[0])*1000 + int(digits[1])*100 + int(digits[2])*10 + int(digits[3])
	n := len(digits)
	var known bool
	switch two := four / 100; {
	case digits[0] == 4: // Visa
		known = n == 13 || n == 16 || n == 19
	case two >= 51 && two <= 55, four >= 2221 && four <= 2720: // Mastercard
		known = n == 16
	case two == 34, two == 37: // American Express
		known = n == 15
	case two == 36, two == 38, four >= 3000 && four <= 3059: // Diners Club
		known = n == 14
	case four >= 3528 && four <= 3589: // JCB
		known = n == 16
	case four == 6011, four >= 6440 && four <= 6599, two == 62: // Discover, UnionPay
		known = n >= 16
	}
	return known && luhn(digits)
}

func luhn(digits []byte) bool {
	sum := 0
	for i, d := range digits {
		v := int(d)
		if (len(digits)-i)%2 == 0 {
			if v *= 2; v > 9 {
				v -= 9
			}
		}
		sum += v
	}
	return sum%10 == 0
}
