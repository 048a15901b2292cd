package translog

import "io/fs"

type verification struct{ report Report }

func newVerification(fs.FS, Trust) (*verification, error) { return &verification{}, nil }
func (v *verification) run()                              {}
