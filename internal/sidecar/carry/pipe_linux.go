package carry

import "golang.org/x/sys/unix"

// maxPipes bounds the pipes in use or kept. A tunnel that gets none copies.
const maxPipes = 64

// pipes holds pipes that are not in use; budget one token per pipe that may
// still be made.
var (
	pipes  = make(chan *pipe, maxPipes)
	budget = make(chan struct{}, maxPipes)
)

// pipe is the kernel buffer between two splices. It is empty while in pipes.
type pipe struct {
	r, w    int
	spoiled bool // it may hold bytes
}

// takePipe returns an empty pipe, or nil when there is none to be had.
func takePipe() *pipe {
	select {
	case p := <-pipes:
		return p
	default:
	}
	select {
	case budget <- struct{}{}:
	default:
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		<-budget
		return nil
	}
	// Refused beyond an unprivileged user's share; the pipe works all the same.
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, spliceMax)
	return &pipe{r: fds[0], w: fds[1]}
}

func (p *pipe) release() {
	if !p.spoiled {
		select {
		case pipes <- p:
			return
		default:
		}
	}
	unix.Close(p.r)
	unix.Close(p.w)
	<-budget
}

func (p *pipe) fill(src int) (int, error) { return splice(src, p.w, spliceMax) }

func (p *pipe) empty(dst, n int) (int, error) { return splice(p.r, dst, n) }
