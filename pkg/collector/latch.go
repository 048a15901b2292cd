package collector

import (
	"context"

	"golang.org/x/sys/unix"
)

// latchRoom is how much the bus's disk must have before it is worth starting
// again, in bytes.
const latchRoom = 32 << 20

// watchBus ends the collector when the bus's stream takes nothing any more
// although its disk has room again: whoever runs the collector starts it again,
// and that heals it. A server of the operator's is only watched: to start it
// again is not ours.
func (c *Collector) watchBus(ctx context.Context) error {
	return c.bus.Watch(ctx, func() bool {
		if c.nats == nil {
			return false
		}
		var fs unix.Statfs_t
		if err := unix.Statfs(c.cfg.dir().bus(), &fs); err != nil {
			return false
		}
		return int64(fs.Bavail)*fs.Bsize >= latchRoom //nolint:gosec // file systems are smaller than 8 EiB
	})
}
