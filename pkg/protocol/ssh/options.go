package ssh

import "errors"

// Options are what an operator can set. The zero value is good.
type Options struct {
	// MaxChannels is how many channels one session may have open at once, and
	// WorkloadChannels how many all sessions of one workload may. Each can hold
	// 2 MiB in either direction of what its peer has not taken yet.
	MaxChannels, WorkloadChannels int
	// PackDir is where packs of git pushes wait for their decision, in files
	// without a name; "" for the system's directory for such files.
	PackDir string
}

func (o Options) withDefaults() (Options, error) {
	if o.MaxChannels < 0 || o.WorkloadChannels < 0 {
		return o, errors.New("a limit of channels is negative")
	}
	if o.MaxChannels == 0 {
		o.MaxChannels = 64
	}
	if o.WorkloadChannels == 0 {
		o.WorkloadChannels = 256
	}
	return o, nil
}
