// Package standalone tells end to end what happens to a Sidecar that no run
// started: its start and end, runs that attach to it, the services that
// firma sidecar start keeps, and the capabilities that are staged for it.
//
// Each story is told for root and for an ordinary account. The agent is a shell
// that asks for what the test tells it to, with curl.
package standalone
