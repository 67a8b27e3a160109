package crew_test

import (
	"runtime"
	"sync"
	"testing"

	"firma/internal/sidecar/crew"
)

// Every task is done once, as many at a time as there are, and no more goroutines than
// were asked for are kept.
func TestCrew(t *testing.T) {
	const tasks, kept = 200, 3
	var mu sync.Mutex
	seen := map[int]int{}
	var all, started sync.WaitGroup
	release := make(chan struct{})
	c := crew.New(kept, func(i int) {
		defer all.Done()
		mu.Lock()
		seen[i]++
		mu.Unlock()
		if i < tasks {
			started.Done()
			<-release
		}
	})
	before := runtime.NumGoroutine()
	all.Add(2 * tasks)
	started.Add(tasks)
	for i := range tasks {
		c.Go(i)
	}
	started.Wait() // all at once: none waits for another
	close(release)
	for i := range tasks {
		c.Go(tasks + i)
	}
	all.Wait()
	for i := range 2 * tasks {
		if seen[i] != 1 {
			t.Errorf("task %d was done %d times", i, seen[i])
		}
	}
	for runtime.NumGoroutine() > before+kept {
		runtime.Gosched()
	}
}
