package workload_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/workload"
)

func TestProductsFitTheKernel(t *testing.T) {
	if len(workload.Products) > 63 {
		t.Errorf("%d products; a mark has 64 bits, and one must be free", len(workload.Products))
	}
	seen := make(map[string]string)
	for _, product := range workload.Products {
		for _, word := range append(product.Programs, product.Variables...) {
			if seen[word] != "" {
				t.Errorf("%s stands for %s and for %s", word, seen[word], product.Name)
			}
			seen[word] = product.Name
		}
		for _, name := range product.Programs {
			if len(name) > 14 {
				t.Errorf("%s: %q is longer than what the kernel keeps", product.Name, name)
			}
		}
	}
}

// Processes carry these places: a change would give them another's name.
func TestPlacesOfProductsStay(t *testing.T) {
	for i, name := range []string{
		"claude-code-action", "claude-code", "codex", "gemini-cli", "copilot-cli", "copilot", "cursor", "opencode",
		"qwen-code", "augment", "aider", "goose", "crush", "amp", "droid",
	} {
		if got := workload.Products[i].Name; got != name {
			t.Errorf("place %d is %s's, not %s's", i, got, name)
		}
	}
}
