package spool

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sluicegate/sluice/pkg/failpoint"
)

// The file "last" holds the number of the newest segment ever made, so that
// its loss shows and its positions are not used again.

func (s *Spool) writeLast(number uint32) error {
	return writeSummed(s.cfg.Dir, "last", binary.LittleEndian.AppendUint32(nil, number))
}

// readLast returns 0 when no segment was ever made. known is false when the
// file cannot be read any more.
func (s *Spool) readLast() (last uint32, known bool, err error) {
	data, ok, err := readSummed(filepath.Join(s.cfg.Dir, "last"))
	if err != nil {
		return 0, false, err
	}
	if !ok || len(data) != 0 && len(data) != 4 {
		s.damage = append(s.damage, Damage{Kind: AlteredState})
		return 0, false, nil
	}
	if len(data) == 0 {
		return 0, true, nil
	}
	return binary.LittleEndian.Uint32(data), true, nil
}

// writeSummed replaces a small file in one step, followed by its checksum.
func writeSummed(dir, name string, data []byte) (err error) {
	summed := binary.LittleEndian.AppendUint32(append([]byte{}, data...), crc32.Checksum(data, castagnoli()))
	temporary := filepath.Join(dir, name+".new")
	file, err := os.OpenFile(temporary, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(summed)
	if err == nil {
		err = file.Sync()
	}
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	failpoint.Here("spool." + name + ".written")
	if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
		return err
	}
	failpoint.Here("spool." + name + ".renamed")
	return syncDir(dir)
}

// readSummed returns the file's data, nil and true when there is no file, and
// false when its checksum does not hold.
func readSummed(name string) (data []byte, ok bool, err error) {
	summed, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	n := len(summed) - 4
	if n < 0 || binary.LittleEndian.Uint32(summed[n:]) != crc32.Checksum(summed[:n], castagnoli()) {
		return nil, false, nil
	}
	return summed[:n], true, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
