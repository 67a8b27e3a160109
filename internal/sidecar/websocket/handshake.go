package websocket

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// NewKey returns a value for Sec-WebSocket-Key.
func NewKey() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// Accept returns the Sec-WebSocket-Accept that answers key.
func Accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

const deflate = "permessage-deflate"

// Offers returns those of a client's offers (the values of its
// Sec-WebSocket-Extensions fields) that may be passed on, as one value: frames of
// an extension that is not known here could not be told from garbage.
func Offers(values ...string) string {
	var known []string
	for _, v := range values {
		for offer := range strings.SplitSeq(v, ",") {
			if name(offer) == deflate {
				known = append(known, strings.Trim(offer, " \t"))
			}
		}
	}
	return strings.Join(known, ", ")
}

// Agreed reads a server's Sec-WebSocket-Extensions fields: whether the messages
// may be compressed, and false if it agreed on something that is not known here.
func Agreed(values ...string) (compressed, ok bool) {
	for _, v := range values {
		for ext := range strings.SplitSeq(v, ",") {
			switch name(ext) {
			case "":
			case deflate:
				if compressed {
					return false, false
				}
				compressed = true
			default:
				return false, false
			}
		}
	}
	return compressed, true
}

func name(extension string) string {
	n, _, _ := strings.Cut(extension, ";")
	return strings.ToLower(strings.Trim(n, " \t"))
}
