package translog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tileHeight is that of C2SP tlog-tiles: a full tile has 256 hashes.
const tileHeight = 8

// Tile names a tile of the log as C2SP tlog-tiles does: hashes of a level, or
// entries.
type Tile struct{ tile tlog.Tile }

// ErrNoTile reports a path that names no tile, or one that the log does not
// have yet.
var ErrNoTile = errors.New("no such tile")

// ParseTile reads what follows tile/ in a tile's path: <L>/<N>[.p/<W>] or
// entries/<N>[.p/<W>]. A tile has one path.
func ParseTile(path string) (Tile, error) {
	rest, entries := strings.CutPrefix(path, "entries/")
	if entries {
		path = "data/" + rest // as x/mod writes it
	} else if strings.HasPrefix(path, "data/") {
		return Tile{}, ErrNoTile
	}
	t, err := tlog.ParseTilePath(fmt.Sprintf("tile/%d/%s", tileHeight, path))
	if err != nil {
		return Tile{}, ErrNoTile
	}
	return Tile{t}, nil
}

// IsEntries reports whether the tile holds entries, not hashes.
func (t Tile) IsEntries() bool { return t.tile.L < 0 }

// Within reports whether a log of size leaves has all of the tile.
func (t Tile) Within(size int64) bool {
	level := max(0, t.tile.L) * tileHeight
	if level > 62 || t.tile.N > math.MaxInt64>>tileHeight-1 {
		return false
	}
	return t.tile.N<<tileHeight+int64(t.tile.W) <= size>>level
}

// Leaves returns the first leaf of a tile of entries and the one behind its
// last.
func (t Tile) Leaves() (first, end int64) {
	return t.tile.N << tileHeight, t.tile.N<<tileHeight + int64(t.tile.W)
}

// Hashes returns the content of a tile of hashes that the log has.
func (t Tile) Hashes(log HashReader) ([]byte, error) {
	data, err := tlog.ReadTileData(t.tile, log)
	if err != nil {
		return nil, fmt.Errorf("read tile: %w", err)
	}
	return data, nil
}

// AppendEntry appends a signed note as a tile of entries holds it: its length
// in two bytes, big endian, and the note.
func AppendEntry(dst, note []byte) ([]byte, error) {
	if len(note) > math.MaxUint16 {
		return nil, fmt.Errorf("an entry of %d bytes is larger than tiles can hold", len(note))
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(note))), note...), nil
}
