package attribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// docker asks the Docker Engine for a container's record, once.
func (s Sources) docker(ctx context.Context, id string) (container, error) {
	answer, err := s.Container(ctx, id)
	if err != nil {
		return container{}, fmt.Errorf("inspect container: %w", err)
	}
	var record inspection
	if err := json.Unmarshal(answer, &record); err != nil {
		return container{}, fmt.Errorf("inspect container: decode the engine's answer: %w", err)
	}
	if record.ID != id {
		return container{}, errors.New("inspect container: the engine answered for another container")
	}
	if record.State.Pid <= 0 {
		return container{}, errStarting
	}
	home, err := s.homeOf(ctx, record.State.Pid)
	if err != nil {
		return container{}, err
	}
	return container{facts: record.facts(s.sockets()), home: home}, nil
}
