// Package corpus drives malformed and ambiguous messages, as raw bytes, through
// the real firma sidecar: as a forward proxy, inside an intercepted connection with
// HTTP/1.1 and HTTP/2, by SOCKS, in a tunnel, and captured from a sandbox. A raw
// origin keeps every byte that reaches it. Each entry says what arrives there, in
// canonical form, or that it is refused; and in every case four parsers that firma
// does not use (net/http, node's llhttp, Python's h11, nginx) must read in the origin's
// bytes exactly the requests that the audit log says were allowed, and no others.
package corpus
