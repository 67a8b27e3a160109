package hello

// accessDenied is the fatal TLS alert of that name (RFC 8446, section 6.2), as it
// is sent before any key is agreed on.
var accessDenied = [...]byte{21, 3, 3, 0, 2, 2, 49}

// AccessDenied returns the alert that tells a client why its hello gets no
// answer.
func AccessDenied() []byte { return accessDenied[:] }
