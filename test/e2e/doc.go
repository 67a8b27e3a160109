// Package e2e plays what a user does, with the real binary: firma run with its
// Authority, its Sidecar and a bubblewrap sandbox as processes, and real clients
// as the agent. Each file is a story, in the order a user meets things; README.md
// lists what each one proves.
//
// The binary is $FIRMA_BIN, or bin/firma of this tree. As root, every story is
// played twice: by root and by an ordinary account (firma-test, made when absent).
//
//	make build && go test -count=1 ./test/e2e
//	go test -count=1 -v -run 'TestClients/firma-test/curl' ./test/e2e
//
// Nothing waits by sleeping: a test waits for what it can observe, with a
// deadline. Nothing outside loopback is asked for.
package e2e
