package operation_test

import (
	"testing"

	"github.com/sluicegate/sluice/pkg/operation"
)

func TestWhatLeavesNoTraceIsNotVisible(t *testing.T) {
	for _, r := range "\x00\x1b\x7f\u009b\u00a0\u00ad\u034f\u115f\u1160\u17b4\u180b\u200b\u200d\u202e\u2028\u2066\u2800\u3164\ufe0f\ufeff\uffa0\U000e0041\U000e0100" {
		if operation.Visible(r) {
			t.Errorf("%U is visible", r)
		}
	}
	for _, r := range " aÄж語א한🙂\u0301" {
		if !operation.Visible(r) {
			t.Errorf("%U is not visible", r)
		}
	}
}
