package localexec

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"firma/internal/fault"
	"firma/internal/localexec/line"
)

const (
	maxConns = 32              // further ones wait in the kernel's backlog
	patience = 2 * time.Second // for a caller to send its line, or to read its answer
)

// socket is a listening Unix socket that only this user can open.
type socket struct {
	ln      *net.UnixListener
	path    string
	madeDir bool
	once    sync.Once
}

// listen makes the socket with mode 0600, in a directory with mode 0700 that is
// made if it is missing. So nobody else can reach the socket, whenever its own
// mode is set.
func listen(path string) (*socket, error) {
	if len(path) > line.MaxPath {
		return nil, unusable(path, errors.New("the path is too long for a socket"))
	}
	madeDir, err := privateDir(filepath.Dir(path))
	if err != nil {
		return nil, unusable(path, err)
	}
	s := &socket{path: path, madeDir: madeDir}
	if err := s.open(); err != nil {
		s.removeDir()
		return nil, unusable(path, err)
	}
	return s, nil
}

func (s *socket) open() error {
	if err := removeStale(s.path); err != nil {
		return err
	}
	var err error
	if s.ln, err = net.ListenUnix("unix", &net.UnixAddr{Name: s.path, Net: "unix"}); err != nil {
		return err
	}
	if err := os.Chmod(s.path, 0o600); err != nil {
		s.ln.Close()
		return err
	}
	return nil
}

func privateDir(dir string) (made bool, err error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return false, err
	}
	err = os.Mkdir(dir, 0o700)
	if made = err == nil; err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
	case !info.IsDir():
		err = errors.New(dir + " is not a directory")
	case info.Mode().Perm()&0o077 != 0:
		err = errors.New(dir + " is open to others (" + info.Mode().String() + "): its mode must be 0700")
	default:
		err = ownedByUs(info)
	}
	if err != nil && made {
		_ = os.Remove(dir)
	}
	return made && err == nil, err
}

// removeStale removes a socket that nobody serves any more.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket == 0 {
		return errors.New("it exists and is not a socket")
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return errors.New("it is in use by another Sidecar")
	}
	return os.Remove(path)
}

func unusable(path string, err error) error {
	return fault.Wrap(err, "LocalExecUnavailable", "the command gate can't be served at "+path,
		"leave [sidecar.local_exec].socket_path out so that each run has its own, or name one in a directory that only you can enter")
}

// serve answers each connection once, until the socket is closed.
func (s *socket) serve(ctx context.Context, answer func(context.Context, *net.UnixConn) []byte) error {
	slots := make(chan struct{}, maxConns)
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		slots <- struct{}{}
		conn, err := s.ln.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		conns.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			defer context.AfterFunc(ctx, func() { conn.Close() })()
			_ = conn.SetDeadline(time.Now().Add(patience))
			if out := answer(ctx, conn); out != nil {
				_, _ = conn.Write(out)
			}
		})
	}
}

// close stops listening and removes what listen made. Further calls do nothing.
func (s *socket) close() {
	s.once.Do(func() {
		s.ln.Close() // which also removes the socket
		s.removeDir()
	})
}

func (s *socket) removeDir() {
	if s.madeDir {
		_ = os.Remove(filepath.Dir(s.path)) // fails while the other socket is there
	}
}
