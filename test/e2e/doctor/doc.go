// Package doctor takes one feature of the host away at a time and holds firma
// doctor and firma run to the same answer: the same fault, and neither works.
//
//	make build && go test -count=1 ./test/e2e/doctor
package doctor
