package main

import (
	"time"

	"golang.org/x/sys/unix"
)

var unixTechniques = map[string]technique{
	"unix":       func(a []string) (string, error) { return unixStream(a, unix.SOCK_STREAM) },
	"unix-seq":   func(a []string) (string, error) { return unixStream(a, unix.SOCK_SEQPACKET) },
	"unix-dgram": unixDatagram,
	"unix-pair":  unixPair,
}

// unixStream is PATH TOKEN: connect to a socket file, or to an abstract name that
// starts with "@", and get TOKEN back.
func unixStream(args []string, typ int) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	fd, err := unix.Socket(unix.AF_UNIX, typ|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket", err
	}
	defer unix.Close(fd)
	if err := deadlines(fd, 3*time.Second); err != nil {
		return "", err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: args[0]}); err != nil {
		return "connect", err
	}
	if err := unix.Sendto(fd, []byte(args[1]), unix.MSG_NOSIGNAL, nil); err != nil {
		return "send", err
	}
	return hear(fd, args[1])
}

// unixDatagram is PATH TOKEN: send one datagram.
func unixDatagram(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socket", err
	}
	defer unix.Close(fd)
	return "", unix.Sendto(fd, []byte(args[1]), 0, &unix.SockaddrUnix{Name: args[0]})
}

// unixPair is PATH TOKEN: the same from one end of a socketpair, which a filter on
// socket(2) does not see made.
func unixPair(args []string) (string, error) {
	if len(args) != 2 {
		return "", errUsage
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "socketpair", err
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	return "", unix.Sendto(pair[0], []byte(args[1]), 0, &unix.SockaddrUnix{Name: args[0]})
}
