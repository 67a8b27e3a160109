package seccomp

var archDenied []uint32
