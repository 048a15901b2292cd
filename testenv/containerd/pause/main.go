// Command pause waits until it is told to end. It is the sandbox of a pod, and
// a job that has nothing to do.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
}
