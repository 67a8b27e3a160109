//go:build linux && !amd64

package main

import "errors"

func int80Talk([]string) (string, error) {
	return "", errors.New("this architecture has no 32-bit gate")
}
