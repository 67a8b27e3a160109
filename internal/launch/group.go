//go:build linux

package launch

import "sync"

// group runs steps at once; wait returns the error of the first of them in the
// order of do, not in the order of time.
type group struct {
	wg   sync.WaitGroup
	errs []*error
}

func (g *group) do(f func() error) {
	err := new(error)
	g.errs = append(g.errs, err)
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		*err = f()
	}()
}

func (g *group) wait() error {
	g.wg.Wait()
	for _, err := range g.errs {
		if *err != nil {
			return *err
		}
	}
	return nil
}
