package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

var captureTechniques = map[string]technique{
	"tcp-from":     tcpFrom,
	"own-listener": ownListener,
	"tls":          handshake,
	"h2c":          priorKnowledge,
	"quic":         func(a []string) (string, error) { return talk(append(a, quicInitial), unix.SOCK_DGRAM, 0, true) },
	"names":        manyNames,
	"link-down":    linkDown,
	"route-local":  routeLocal,
	"route-del":    routeDelete,
	"nft-flush":    flushRules,
	"program":      program,
}

// quicInitial begins as a QUIC version 1 Initial packet does (RFC 9000, 17.2.2).
const quicInitial = "\xc3\x00\x00\x00\x01\x08 an id.\x00\x00"

// resolver is the sandbox's.
const resolver = "127.0.0.1:53"

// resolved is NAME:PORT by an A record, [NAME]:PORT by an AAAA record.
func resolved(s string) (netip.AddrPort, error) {
	name, text, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	kind := dnsmessage.TypeA
	if strings.HasPrefix(s, "[") {
		kind = dnsmessage.TypeAAAA
	}
	c, err := net.DialTimeout("udp", resolver, netPatience)
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer c.Close()
	a, err := lookUp(c, name, kind)
	return netip.AddrPortFrom(a, uint16(port)), err
}

// lookUp asks again when no answer comes, as every resolver of datagrams does.
func lookUp(c net.Conn, name string, kind dnsmessage.Type) (netip.Addr, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return netip.Addr{}, err
	}
	q := dnsmessage.Message{Header: dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}}}
	query, err := q.Pack()
	if err != nil {
		return netip.Addr{}, err
	}
	buf := make([]byte, 1024)
	for range 5 {
		if _, err = c.Write(query); err != nil {
			return netip.Addr{}, err
		}
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		var got int
		if got, err = c.Read(buf); err == nil {
			return addressIn(buf[:got])
		}
	}
	return netip.Addr{}, err
}

func addressIn(p []byte) (netip.Addr, error) {
	var m dnsmessage.Message
	if err := m.Unpack(p); err != nil {
		return netip.Addr{}, err
	}
	for _, a := range m.Answers {
		switch r := a.Body.(type) {
		case *dnsmessage.AResource:
			return netip.AddrFrom4(r.A), nil
		case *dnsmessage.AAAAResource:
			return netip.AddrFrom16(r.AAAA), nil
		}
	}
	return netip.Addr{}, &no{m.RCode.String()}
}

// tcpFrom is SOURCE ADDR TOKEN: as tcp, from a source of its own choice.
func tcpFrom(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	family, from, err := sockaddr(args[0])
	if err != nil {
		return "", err
	}
	_, to, err := sockaddr(args[1])
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket", err
	}
	defer unix.Close(fd)
	if err := errors.Join(deadlines(fd, 3*time.Second), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)); err != nil {
		return "", err
	}
	if err := unix.Bind(fd, from); err != nil {
		return "bind", err
	}
	if err := reach(fd, to, args[2], unix.SOCK_STREAM, false); err != nil {
		return "connect", err
	}
	return hear(fd, args[2])
}

// ownListener is ADDR AT: listen on ADDR, connect to AT, and succeed if the
// listener is who was reached. "-" for AT is where the listener is.
func ownListener(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	at := args[1]
	if at != "-" {
		to, err := resolved(at)
		if err != nil {
			return "", err
		}
		at = to.String()
	}
	listen := args[0]
	if _, err := netip.ParseAddrPort(listen); err != nil {
		to, err := resolved(listen)
		if err != nil {
			return "", err
		}
		listen = to.String()
	}
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		return "listen", err
	}
	defer ln.Close()
	if at == "-" {
		at = ln.Addr().String()
	}
	go func() {
		if c, err := ln.Accept(); err == nil {
			_, _ = c.Write([]byte("me"))
			_ = c.Close()
		}
	}()
	c, err := dial(at)
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	_, _ = c.Write([]byte("x"))
	buf := make([]byte, 2)
	if _, err := c.Read(buf); err != nil || string(buf) != "me" {
		return "", &no{fmt.Sprintf("somebody else was reached: %q %v", buf, err)}
	}
	return "its own listener answered", nil
}

// handshake is ADDR SNI: success is a TLS session, with whomever.
func handshake(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	c, err := dial(args[0])
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	// What is tested is who answers at all, not whether it is believed.
	tc := tls.Client(c, &tls.Config{ServerName: args[1], InsecureSkipVerify: true})
	if err := tc.Handshake(); err != nil {
		return "", &no{err.Error()}
	}
	return "the handshake is complete", nil
}

// priorKnowledge is ADDR AUTHORITY: a request by HTTP/2 without TLS and without
// asking first. Success is an answer below 400.
func priorKnowledge(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	client := http.Client{Timeout: 2 * netPatience, Transport: &http.Transport{Protocols: &only,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(args[0]) }}}
	r, err := client.Get("http://" + args[1] + "/")
	if err != nil {
		return "", &no{err.Error()}
	}
	defer r.Body.Close()
	if r.StatusCode >= 400 {
		return "", &no{r.Status}
	}
	return r.Proto + " " + r.Status, nil
}

// manyNames is N SUFFIX KNOWN: resolve N names below SUFFIX, and succeed if some
// were refused an address in the end and KNOWN still has the one it had.
func manyNames(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return "", err
	}
	known := net.JoinHostPort(args[2], "80")
	before, err := resolved(known)
	if err != nil {
		return "before", err
	}
	const lanes = 8
	var group sync.WaitGroup
	var mu sync.Mutex
	seen, refusals, failures := map[netip.Addr]bool{before.Addr(): true}, map[string]int{}, 0
	for lane := range lanes {
		group.Go(func() {
			c, err := net.Dial("udp", resolver)
			if err != nil {
				return
			}
			defer c.Close()
			for i := lane; i < n; i += lanes {
				a, err := lookUp(c, "n"+strconv.Itoa(i)+"."+args[1], dnsmessage.TypeA)
				var refusal *no
				mu.Lock()
				switch {
				case errors.As(err, &refusal):
					refusals[refusal.why]++
				case err != nil:
					failures++
				default:
					seen[a] = true
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	said := fmt.Sprintf("%d addresses, refused %v, unanswered %d", len(seen), refusals, failures)
	after, err := resolved(known)
	if err != nil {
		return said, err
	}
	if after != before || len(refusals) == 0 || failures > 0 {
		return "", &no{fmt.Sprintf("%s; %s was %v and is %v", said, args[2], before, after)}
	}
	return said, nil
}

// inOwnNetwork is TECHNIQUE [ARG…]: in a network namespace of its own, whose
// loopback is up, with every right to it.
func inOwnNetwork(args []string) (string, error) {
	if len(args) == 0 {
		return "", errUsage
	}
	if args[0] == "up" {
		return inOwnNetworkUp(args[1:])
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"owned", "up"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if err != nil {
		return string(out), err
	}
	var r Result
	switch err := json.Unmarshal(out, &r); {
	case err != nil:
		return "", err
	case r.Errno == "ENOENT":
		return r.Detail, unix.ENOENT
	case r.Result != succeeded:
		return "", &no{r.Detail}
	}
	return "in a network of its own", nil
}

func inOwnNetworkUp(args []string) (string, error) {
	if err := setLink(unix.IFF_UP); err != nil {
		return "loopback", err
	}
	t, ok := techniques()[args[0]]
	if !ok {
		return "", errUsage
	}
	return t(args[1:])
}

// linkDown takes loopback down, and the way to the Sidecar with it.
func linkDown([]string) (string, error) { return "", setLink(0) }

func setLink(flags uint16) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	r.SetUint16(flags)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}

// program is NAME [ARG…]: success is its exit status 0.
func program(args []string) (string, error) {
	if len(args) == 0 {
		return "", errUsage
	}
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return "not installed", unix.ENOENT
	}
	if err != nil {
		return "", &no{fmt.Sprintf("%v: %.200s", err, out)}
	}
	return "", nil
}
