package translog

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/sluicegate/sluice/pkg/record"
)

// ParseTrust reads a trust file: the JSON of a Trust, strictly, every key of
// it usable.
func ParseTrust(data []byte) (Trust, error) {
	var trust Trust
	if err := decodeStrict(bytes.TrimSpace(data), &trust); err != nil {
		return Trust{}, fmt.Errorf("read trust file: %w", err)
	}
	if _, err := newKeys(trust); err != nil {
		return Trust{}, fmt.Errorf("read trust file: %w", err)
	}
	return trust, nil
}

// keys are a Trust's, ready to use.
type keys struct {
	log    *Verifier
	agents map[string][]agentKey // by name

	witnesses []*Witness
	quorum    int
}

// agentKey is one of an agent's keys and the leaf from which on it is not
// believed.
type agentKey struct {
	*Verifier
	until int64
}

func newKeys(trust Trust) (*keys, error) {
	log, err := NewVerifier(trust.Log)
	if err != nil {
		return nil, fmt.Errorf("the log's key: %w", err)
	}
	until := map[string]int64{}
	for _, r := range trust.Revoked {
		if !slices.Contains(trust.Agents, r.Key) {
			return nil, errors.New("a key is revoked that is not an agent's")
		}
		if _, twice := until[r.Key]; twice || r.From < 0 {
			return nil, errors.New("a revocation makes no sense")
		}
		until[r.Key] = r.From
	}
	k := &keys{log: log, agents: map[string][]agentKey{}}
	for i, vkey := range trust.Agents {
		agent, err := NewVerifier(vkey)
		if err != nil {
			return nil, fmt.Errorf("an agent's key: %w", err)
		}
		if slices.Contains(trust.Agents[:i], vkey) {
			return nil, fmt.Errorf("a key of agent %s twice", agent.Name())
		}
		from, revoked := until[vkey]
		if !revoked {
			from = math.MaxInt64
		}
		k.agents[agent.Name()] = append(k.agents[agent.Name()], agentKey{agent, from})
	}
	return k, k.addWitnesses(&trust)
}

func (k *keys) addWitnesses(trust *Trust) error {
	names := map[string]bool{k.log.Name(): true}
	for _, vkey := range trust.Witnesses {
		w, err := NewWitness(vkey)
		if err != nil {
			return fmt.Errorf("a witness's key: %w", err)
		}
		if names[w.Name()] {
			return fmt.Errorf("the name of witness %s is not its alone", w.Name())
		}
		names[w.Name()] = true
		k.witnesses = append(k.witnesses, w)
	}
	if trust.Quorum < 0 || trust.Quorum > len(k.witnesses) {
		return errors.New("the quorum is more than all witnesses")
	}
	k.quorum = trust.Quorum
	if k.quorum == 0 {
		k.quorum = len(k.witnesses)
	}
	return nil
}

// open opens the note at a leaf with the key of the agent that it names. Of an
// agent that changed its key, one key after the other is tried.
func (k *keys) open(signed []byte, name string, index int64) (record.Batch, Code, error) {
	known := k.agents[name]
	if len(known) == 0 {
		return record.Batch{}, AgentUnknown, errors.New("no trusted key has this agent's name")
	}
	for _, key := range known {
		batch, err := OpenBatch(signed, key.Verifier)
		switch {
		case errors.Is(err, errForeignKey):
			continue
		case err != nil:
			return record.Batch{}, NoteSignature, err
		case index >= key.until:
			return record.Batch{}, KeyRevoked, fmt.Errorf("the key that signed it is revoked from leaf %d on", key.until)
		}
		return batch, "", nil
	}
	return record.Batch{}, KeyForeign, errors.New("the key that signed it is none of this agent's")
}
