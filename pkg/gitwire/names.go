package gitwire

import (
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
)

// namesAtOnce is how much of the names one record has at most: whole lines, so
// that a search finds each.
const namesAtOnce = 24 << 10

// nameObjects records every object of a pack, up to a bound, one a line: kind,
// id and size, or "delta" with the id of an object that the pack does not have
// and that it is made of.
func (s *service) nameObjects(ctx context.Context, log *recorder, p *pack) error {
	done, err := s.own.turn(ctx)
	if err != nil {
		return nil //nolint:nilerr // the push has ended otherwise
	}
	p.names.resolve(ctx, p)
	done()
	text := make([]byte, 0, namesAtOnce+1<<10)
	for i := range p.names.entries {
		text = p.appendName(text, &p.names.entries[i])
		if len(text) < namesAtOnce {
			continue
		}
		if err := log.objects(text); err != nil {
			return err
		}
		text = text[:0]
	}
	if more := p.objects - len(p.names.entries); more > 0 {
		text = fmt.Appendf(text, "%d more\n", more)
	}
	p.names.entries = nil
	if len(text) == 0 {
		return nil
	}
	return log.objects(text)
}

func (p *pack) appendName(text []byte, e *catalogued) []byte {
	text = append(append(text, e.kind.String()...), ' ')
	text = hex.AppendEncode(text, e.name[:p.format.size])
	return append(strconv.AppendInt(append(text, ' '), e.size, 10), '\n')
}
