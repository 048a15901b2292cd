package mask

import "bytes"

// open returns where a secret may begin that what follows the value would make
// whole or longer; the value's length when there is none.
func (s *Set) open(value []byte) int {
	at := len(value)
	for i := range s.Detect {
		at = min(at, s.Detect[i].Detector.open(value))
	}
	return at
}

func (d Detector) open(value []byte) int {
	switch d {
	case JWT:
		tail := trailing(value, func(c byte) bool { return tokenByte(c) || c == '.' })
		return openPrefix(value, tail, [][]byte{jsonStart})
	case AWSKey:
		return min(openPrefix(value, trailing(value, tokenByte), keyIDs), openSecretKey(value))
	case PrivateKey:
		return openArmour(value)
	case CreditCard:
		return openCard(value)
	case Email:
		return trailing(value, func(c byte) bool { return localByte(c) || c == '@' })
	case GitHubToken:
		return openPrefix(value, trailing(value, tokenByte), gitHubPrefixes)
	case GitLabToken:
		return openPrefix(value, trailing(value, tokenByte), gitLabPrefixes)
	case SlackToken:
		return openPrefix(value, trailing(value, tokenByte), slackPrefixes)
	case GoogleKey:
		return openPrefix(value, trailing(value, tokenByte), googlePrefixes)
	case StripeKey:
		return openPrefix(value, trailing(value, tokenByte), stripePrefixes)
	}
	return 0 // nobody knows what it looks like
}

// trailing returns where the run of one class begins that ends the value.
func trailing(value []byte, class func(byte) bool) int {
	at := len(value)
	for at > 0 && class(value[at-1]) {
		at--
	}
	return at
}

// openPrefix returns where, in a run that ends the value, one of the prefixes
// begins, whole or as far as the value goes.
func openPrefix(value []byte, tail int, prefixes [][]byte) int {
	at := len(value)
	for _, prefix := range prefixes {
		if i := bytes.Index(value[tail:], prefix); i >= 0 {
			at = min(at, tail+i)
		}
		at = min(at, len(value)-begun(value[tail:], prefix, bytes.Equal))
	}
	return at
}

// begun returns how many bytes at the end of the value begin a word.
func begun(value, word []byte, equal func(a, b []byte) bool) int {
	for n := min(len(value), len(word)-1); n > 0; n-- {
		if equal(value[len(value)-n:], word[:n]) {
			return n
		}
	}
	return 0
}

// openSecretKey looks for a name, with nothing behind it but what may stand
// before a key, and the beginning of one.
func openSecretKey(value []byte) int {
	tail := trailing(value, func(c byte) bool { return isLetter(c) || isDigit(c) || c == '+' || c == '/' || c == '_' })
	from := trailing(value[:tail], func(c byte) bool { return c == ' ' || c == '=' || c == ':' || c == '"' || c == '\'' || c == '\\' })
	from = max(0, from-len(secretName))
	if i := indexFold(value[from:], secretName); i >= 0 {
		return from + i
	}
	return len(value) - begun(value, secretName, bytes.EqualFold)
}

// openArmour looks for armour that has not ended.
func openArmour(value []byte) int {
	for from := 0; ; {
		i := bytes.Index(value[from:], armourBegin)
		if i < 0 {
			return len(value) - begun(value, armourBegin, bytes.Equal)
		}
		start := from + i
		from = start + len(armourBegin)
		label := bytes.Index(value[from:], dashes)
		if label < 0 && len(value)-from <= maxLabel+len(dashes) {
			return start
		}
		if label < 0 || label > maxLabel || !bytes.Contains(value[from:from+label], privateKey) {
			continue
		}
		body := from + label + len(dashes)
		last := bytes.Index(value[body:], armourEnd)
		if last < 0 {
			return start
		}
		tail := body + last + len(armourEnd)
		closing := bytes.Index(value[tail:], dashes)
		if closing < 0 {
			return start
		}
		from = tail + closing
	}
}

// openCard looks for digits, with what may stand between them, that end the
// value.
func openCard(value []byte) int {
	at := trailing(value, func(c byte) bool { return isDigit(c) || c == ' ' || c == '-' })
	return run(value, at, func(c byte) bool { return !isDigit(c) })
}
