package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

var networkTechniques = map[string]technique{
	"tcp":      func(a []string) (string, error) { return talk(a, unix.SOCK_STREAM, 0, false) },
	"tcp-open": func(a []string) (string, error) { return talk(append(a, ""), unix.SOCK_STREAM, 0, false) },
	"mptcp":    func(a []string) (string, error) { return talk(a, unix.SOCK_STREAM, 262, false) },
	"sctp":     func(a []string) (string, error) { return talk(a, unix.SOCK_STREAM, unix.IPPROTO_SCTP, false) },
	"tcp-fast": func(a []string) (string, error) { return talk(a, unix.SOCK_STREAM, 0, true) },
	"udp":      func(a []string) (string, error) { return talk(a, unix.SOCK_DGRAM, 0, true) },
	"udp-lite": func(a []string) (string, error) { return talk(a, unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE, true) },
	"dns":      dnsQuery,
	"socket":   openSocket,
}

// talk is ADDR TOKEN: reach ADDR, send TOKEN, and get it back. With an empty
// token reaching it is enough. atOnce sends without connecting first: sendto, and
// TCP fast open.
func talk(args []string, typ, proto int, atOnce bool) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	family, to, err := sockaddr(args[0])
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(family, typ|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return "socket", err
	}
	defer unix.Close(fd)
	if err := deadlines(fd, 3*time.Second); err != nil {
		return "", err
	}
	if err := reach(fd, to, args[1], typ, atOnce); err != nil {
		return "connect", err
	}
	if args[1] == "" {
		return "connected", nil
	}
	return hear(fd, args[1])
}

func reach(fd int, to unix.Sockaddr, token string, typ int, atOnce bool) error {
	if atOnce {
		flags := 0
		if typ == unix.SOCK_STREAM {
			flags = unix.MSG_FASTOPEN
		}
		if err := unix.Sendto(fd, []byte(token), flags|unix.MSG_NOSIGNAL, to); err != nil || typ == unix.SOCK_STREAM {
			return err
		}
		// Only a connected datagram socket is told that nobody is there.
	}
	if err := unix.Connect(fd, to); err != nil || token == "" {
		return err
	}
	return unix.Sendto(fd, []byte(token), unix.MSG_NOSIGNAL, nil)
}

// hear needs the token back: only the bait itself knows it by then.
func hear(fd int, token string) (string, error) {
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return "no answer", err
	}
	if got := string(buf[:n]); got != token {
		return "", &no{fmt.Sprintf("connected, but answered %.80q", got)}
	}
	return "the bait answered", nil
}

func deadlines(fd int, d time.Duration) error {
	tv := unix.NsecToTimeval(int64(d))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		return err
	}
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
}

// sockaddr keeps the spelling that matters: a mapped address stays an IPv6
// socket's, 0.0.0.0 is not rewritten. A name is the sandbox's to resolve.
func sockaddr(s string) (int, unix.Sockaddr, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		if ap, err = resolved(s); err != nil {
			return 0, nil, fmt.Errorf("address %q: %w", s, err)
		}
	}
	if ap.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}, nil
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(ap.Port()), Addr: ap.Addr().As16()}, nil
}

// dnsQuery is SERVER NAME: ask for an A record by UDP; success is an answer.
func dnsQuery(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	family, to, err := sockaddr(args[0])
	if err != nil {
		return "", err
	}
	query, err := question(args[1])
	if err != nil {
		return "", err
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket", err
	}
	defer unix.Close(fd)
	if err := deadlines(fd, 3*time.Second); err != nil {
		return "", err
	}
	if err := unix.Connect(fd, to); err != nil {
		return "connect", err
	}
	if _, err := unix.Write(fd, query); err != nil {
		return "send", err
	}
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return "no answer", err
	}
	return answer(buf[:n])
}

func question(name string) ([]byte, error) {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 4711, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	return m.Pack()
}

func answer(p []byte) (string, error) {
	var m dnsmessage.Message
	if err := m.Unpack(p); err != nil {
		return "", err
	}
	if m.RCode != dnsmessage.RCodeSuccess || len(m.Answers) == 0 {
		return "", &no{fmt.Sprintf("%s, %d answers", m.RCode, len(m.Answers))}
	}
	return fmt.Sprintf("%d answers", len(m.Answers)), nil
}

// openSocket is FAMILY TYPE PROTOCOL, as numbers.
func openSocket(args []string) (string, error) {
	var n [3]int
	if len(args) != 3 {
		return "", errUsage
	}
	for i, a := range args {
		v, err := strconv.Atoi(a)
		if err != nil {
			return "", err
		}
		n[i] = v
	}
	fd, err := unix.Socket(n[0], n[1]|unix.SOCK_CLOEXEC, n[2])
	if err != nil {
		return "", err
	}
	return "", unix.Close(fd)
}
