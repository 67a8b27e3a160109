package sock_test

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firma/internal/sidecar/sock"
)

// told is a taker that only listens.
type told chan uint32

func (t told) Event(_ int, events uint32) bool {
	select {
	case t <- events:
	default:
	}
	return false
}

func (t told) Turn(int, *sock.Buffer) bool { return false }

// Who is given a connection is told of what was announced before and nobody has read.
func TestGiveUnread(t *testing.T) {
	near, far := both(t, "tcp")
	c := near.(*sock.Conn)
	io.WriteString(far, "x")
	wait(t, c)
	to := make(told, 10)
	if err := c.Give(to, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case events := <-to:
		if events&unix.EPOLLIN == 0 {
			t.Errorf("events %#x", events)
		}
	case <-time.After(30 * time.Second):
		t.Error("nothing is told")
	}
}

// What is written to a connection that was given waits for room as before.
func TestWriteWhileGiven(t *testing.T) {
	near, far := both(t, "tcp")
	if err := near.(*sock.Conn).Give(make(told, 10), 0); err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20 // more than sockets hold
	sent := make(chan error, 1)
	go func() {
		_, err := near.Write(make([]byte, size))
		sent <- err
	}()
	far.SetDeadline(time.Now().Add(30 * time.Second))
	if n, err := io.CopyN(io.Discard, far, size); err != nil {
		t.Fatalf("%d bytes arrived: %v", n, err)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// Who is told of a connection learns of room to write that was announced before, and of
// what is read by others meanwhile.
func TestTell(t *testing.T) {
	near, far := both(t, "tcp")
	c := near.(*sock.Conn)
	io.WriteString(far, "x")
	wait(t, c)
	to := make(told, 10)
	if err := c.Tell(to, 0); err != nil {
		t.Fatal(err)
	}
	for events := uint32(0); events&unix.EPOLLOUT == 0; {
		select {
		case events = <-to:
		case <-time.After(30 * time.Second):
			t.Fatal("nothing is told")
		}
	}
	read(t, c, "x")
	go io.WriteString(far, "more")
	wait(t, c)
	read(t, c, "more")
}

// Where descriptors have run out, nothing can be waited for, and that is an error; a
// connection that could not be given is still its user's.
func TestNoDescriptors(t *testing.T) {
	const mark = "FIRMA_TEST_NO_DESCRIPTORS"
	if os.Getenv(mark) == "" { // the loops of this process may be there already
		cmd := exec.Command(os.Args[0], "-test.run=^TestNoDescriptors$", "-test.v")
		cmd.Env = append(os.Environ(), mark+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	ln := listen(t, "tcp")
	far, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c := near.(*sock.Conn)
	restore := exhaust(t)
	gave := c.Give(make(told, 10), 0)
	waited := c.AwaitRead()
	restore()
	if !errors.Is(gave, syscall.EMFILE) || !errors.Is(waited, syscall.EMFILE) {
		t.Errorf("Give: %v, AwaitRead: %v", gave, waited)
	}
	io.WriteString(far, "x")
	wait(t, c)
	read(t, c, "x")
}

// exhaust leaves the process no descriptor.
func exhaust(t *testing.T) (restore func()) {
	t.Helper()
	next, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(next)
	var was syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(l syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: uint64(next), Max: was.Max})
	return func() { set(was) }
}

// Descriptors that a local client passes along are dropped, and what it says behind
// them is announced all the same.
func TestPassedDescriptors(t *testing.T) {
	near, far := both(t, "unix")
	c := near.(*sock.Conn)
	go io.WriteString(far, "0")
	wait(t, c) // from now on it is watched
	read(t, c, "0")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const messages = 50
	for range messages {
		if _, _, err := far.(*net.UnixConn).WriteMsgUnix([]byte("x"), unix.UnixRights(int(w.Fd())), nil); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	b := make([]byte, messages)
	for n := 0; n < messages; {
		wait(t, c)
		m, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		n += m
	}
	if n, err := r.Read(b); err != io.EOF {
		t.Errorf("%d, %v: somebody holds what was passed", n, err)
	}
}

// A listener that is closed says so as package net's does.
func TestAcceptClosed(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		ln := listen(t, network)
		accepting := make(chan error)
		go func() {
			_, err := ln.Accept()
			accepting <- err
		}()
		ln.Close()
		for _, err := range []error{<-accepting, func() error { _, err := ln.Accept(); return err }()} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: %v", network, err)
			}
		}
	}
}

// The addresses keep their kind when the connection is closed.
func TestAddresses(t *testing.T) {
	near, far := both(t, "tcp")
	if near.LocalAddr().String() != far.RemoteAddr().String() || near.RemoteAddr().String() != far.LocalAddr().String() {
		t.Errorf("%v, %v; %v, %v", near.LocalAddr(), near.RemoteAddr(), far.LocalAddr(), far.RemoteAddr())
	}
	near.Close()
	for _, a := range []net.Addr{near.LocalAddr(), near.RemoteAddr()} {
		if _, ok := a.(*net.TCPAddr); !ok {
			t.Errorf("%T", a)
		}
	}
}
