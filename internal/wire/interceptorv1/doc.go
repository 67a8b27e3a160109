// Package interceptorv1 is the published contract of the gRPC interceptor, generated
// from proto/firma/interceptor/v1; this comment is its only hand-written line.
package interceptorv1
