package attribution

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/sluicegate/sluice/pkg/workload"
)

// inspect asks an engine for a container's record, once.
func (s Sources) inspect(ctx context.Context, of Engine, id string) (container, error) {
	answer, err := s.Container(ctx, of, id)
	if err != nil {
		return container{}, fmt.Errorf("inspect container: %w", err)
	}
	record, err := parseInspection(answer)
	if err != nil {
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
	fromImage, err := s.imageLabels(ctx, of, record)
	if ctx.Err() != nil {
		return container{}, fmt.Errorf("inspect image: %w", err)
	}
	facts := record.facts(of, s.sockets(), fromImage)
	if err != nil {
		facts.Labels, facts.Taints = nil, append(facts.Taints, workload.TaintLabelsUntold)
	}
	return container{facts: facts, home: home}, nil
}

// imageLabels asks an engine for the labels of a container's image. Of a container
// without labels nobody need know.
func (s Sources) imageLabels(ctx context.Context, by Engine, of inspection) (map[string]string, error) {
	if len(of.Config.Labels) == 0 {
		return nil, nil
	}
	answer, err := s.Image(ctx, by, strings.TrimPrefix(of.Image, "sha256:"))
	if err != nil {
		return nil, err
	}
	var image struct {
		Config struct {
			Labels map[string]string
		}
	}
	return image.Config.Labels, json.Unmarshal(answer, &image)
}
