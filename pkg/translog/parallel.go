package translog

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// inParallel calls do for each number below n, on as many goroutines as there
// are processors. Each of them has a W of its own.
func inParallel[W any](n int, do func(own *W, i int)) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			var own W
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(&own, i)
			}
		})
	}
	workers.Wait()
}
