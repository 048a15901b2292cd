package translog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/sluicegate/sluice/pkg/record"
)

// The files of a bundle that say what witnesses saw: a checkpoint with their
// cosignatures, and the proof that the bundle's own extends it.
const (
	cosignedFile  = "cosigned"
	cosignedProof = "cosigned.proof"
)

// Witnessed says what witnesses saw of the log.
type Witnessed struct {
	Size int64         `json:"size"` // leaves
	By   []Cosignature `json:"by"`
}

func (v *verification) findCosigned(code Code, detail string) {
	v.find(Finding{Code: code, Index: -1, Record: -1, Detail: detail})
}

// checkCosigned compares the log with what witnesses saw, and wants as many of
// the trusted ones as the trust says.
func (v *verification) checkCosigned() {
	signed, err := v.read(cosignedFile)
	if errors.Is(err, fs.ErrNotExist) {
		if v.keys.quorum > 0 {
			v.findCosigned(WitnessMissing, "no witness has co-signed the log")
		}
		return
	}
	if err != nil {
		v.findCosigned(BundleMalformed, err.Error())
		return
	}
	seen, by, err := OpenCosigned(signed, v.keys.log, v.keys.witnesses)
	if err != nil {
		v.findCosigned(CheckpointSignature, "what witnesses saw: "+err.Error())
		return
	}
	if len(by) < v.keys.quorum {
		v.findCosigned(WitnessMissing, fmt.Sprintf("%d of the trusted witnesses have co-signed the log, of %d", len(by), v.keys.quorum))
	}
	if !v.headOK {
		return
	}
	if seen.Size > v.head.Size {
		v.findCosigned(LogRolledBack, fmt.Sprintf("witnesses saw %d leaves, and the log has %d", seen.Size, v.head.Size))
		return
	}
	proof, err := v.readProof(cosignedProof)
	if err != nil {
		v.findCosigned(BundleMalformed, cosignedProof+": "+err.Error())
		return
	}
	if err := extended(seen, v.head, proof); err != nil {
		v.findCosigned(SplitView, "the log does not contain what witnesses saw: "+err.Error())
		return
	}
	if len(by) > 0 {
		v.report.Witnessed = &Witnessed{seen.Size, by}
	}
}

// readProof reads a file with a hash a line.
func (v *verification) readProof(name string) ([]Hash, error) {
	data, err := v.read(name)
	if err != nil {
		return nil, err
	}
	var proof []Hash
	for text := range strings.Lines(string(data)) {
		hash, err := record.ParseHash(strings.TrimSuffix(text, "\n"))
		if err != nil || len(proof) > 64 {
			return nil, errors.New("the proof cannot be read")
		}
		proof = append(proof, Hash(hash))
	}
	if !bytes.Equal(encodeProof(proof), data) {
		return nil, errors.New("the proof is not in the one form that an export has")
	}
	return proof, nil
}
