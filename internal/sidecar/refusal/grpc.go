package refusal

import (
	"strconv"
	"strings"

	"firma/internal/verdict"
)

// GRPCType is the media type of an answer without messages.
const GRPCType = "application/grpc"

// IsGRPC reports whether a content-type is that of a gRPC request. gRPC-Web is not:
// its status is in a body.
func IsGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(strings.ToLower(contentType), GRPCType)
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// GRPC returns status code and message of a settled decision for a client of gRPC,
// which shows its caller no body of another media type. The codes are those that
// clients make of the HTTP status of Status, but for limits, which have one of their
// own. The message is percent-encoded as the protocol has it.
func GRPC(d verdict.Decision) (code, message string) {
	switch status, _ := Status(d); status {
	case 403:
		code = "7" // PERMISSION_DENIED
	case 504:
		code = "14" // UNAVAILABLE
	default:
		code = "8" // RESOURCE_EXHAUSTED
	}
	message = "firma: " + string(d.Reason)
	for _, more := range []string{d.Detail, d.Hint} {
		if more != "" {
			message += ": " + more
		}
	}
	return code, percentEncode(message)
}

// percentEncode leaves what is printable ASCII, but for the percent sign.
func percentEncode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; ' ' <= c && c <= '~' && c != '%' {
			b.WriteByte(c)
		} else {
			b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)|0x100, 16)[1:]))
		}
	}
	return b.String()
}
