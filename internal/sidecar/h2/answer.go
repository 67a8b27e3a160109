package h2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"

	"firma/internal/sidecar/refusal"
	"firma/internal/verdict"
)

// answer is the response to a settled decision that does not dispatch.
func answer(d verdict.Decision) (fields []hpack.HeaderField, body []byte) {
	status, _ := refusal.Status(d)
	body = refusal.Body(d)
	return marks([]hpack.HeaderField{
		{Name: ":status", Value: strconv.Itoa(status)},
		{Name: "content-type", Value: refusal.ContentType},
		{Name: "content-length", Value: strconv.Itoa(len(body))},
	}, d), body
}

// grpcAnswer is answer for a client of gRPC: trailers only, since it takes any other
// status than 200 for a fault of the connection and shows nothing of the body.
func grpcAnswer(d verdict.Decision) []hpack.HeaderField {
	code, message := refusal.GRPC(d)
	return marks([]hpack.HeaderField{
		{Name: ":status", Value: "200"},
		{Name: "content-type", Value: refusal.GRPCType},
		{Name: "grpc-status", Value: code},
		{Name: "grpc-message", Value: message},
	}, d)
}

// grpc reports whether the request is one of gRPC.
func (h *head) grpc() bool {
	for _, f := range h.fields {
		if f.Name == "content-type" {
			return refusal.IsGRPC(f.Value)
		}
	}
	return false
}

// marks adds the fields that every answer of ours has.
func marks(fields []hpack.HeaderField, d verdict.Decision) []hpack.HeaderField {
	if id := refusal.Event(d); id != "" {
		fields = append(fields, hpack.HeaderField{Name: "x-firma-event", Value: id})
	}
	if after := refusal.RetryAfter(d); after != "" {
		fields = append(fields, hpack.HeaderField{Name: "retry-after", Value: after})
	}
	return fields
}
