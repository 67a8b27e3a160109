// Package freeport finds an address for a program that has to be told one.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
)

// Address is an address of loopback that nobody listens on. It lies below the ports
// that systems give to connections, or one of another process could take it before
// the program that it is for.
func Address() (string, error) {
	for range 1000 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000)))
		if err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", errors.New("no port of loopback is free")
}
