package conformance

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"firma/internal/sidecar/h2"
	"firma/internal/verdict"
)

// grpcPair is a grpc-go client that reaches a grpc-go server through firma.
func grpcPair(t *testing.T) (*enforcer, *grpc.ClientConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
	pb.RegisterTestServiceServer(server, interop.NewTestServer())
	go server.Serve(ln)
	t.Cleanup(server.Stop)
	e := &enforcer{}
	port := serve(t, h2.Config{Enforcer: e}, ln.Addr().String())
	cc, err := grpc.NewClient(fmt.Sprintf("dns:///%s:%d", name, port), grpc.WithTransportCredentials(credentials.NewClientTLSFromCert(roots, "")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return e, cc
}

// TestGRPCInterop runs the cases of gRPC's own interoperability suite. They end
// the process when they fail.
func TestGRPCInterop(t *testing.T) {
	e, cc := grpcPair(t)
	tc := pb.NewTestServiceClient(cc)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, c := range []struct {
		name string
		run  func(context.Context, pb.TestServiceClient, ...grpc.CallOption)
	}{
		{"empty unary", interop.DoEmptyUnaryCall},
		{"large unary", interop.DoLargeUnaryCall},
		{"client streaming", interop.DoClientStreaming},
		{"server streaming", interop.DoServerStreaming},
		{"ping pong", interop.DoPingPong},
		{"empty stream", interop.DoEmptyStream},
		{"timeout on a sleeping server", interop.DoTimeoutOnSleepingServer},
		{"cancel after begin", interop.DoCancelAfterBegin},
		{"cancel after first response", interop.DoCancelAfterFirstResponse},
		{"custom metadata", interop.DoCustomMetadata},
		{"status code and message", interop.DoStatusCodeAndMessage},
		{"special status message", interop.DoSpecialStatusMessage},
		{"unimplemented method", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedMethod(ctx, cc)
		}},
		{"unimplemented service", func(ctx context.Context, _ pb.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedService(ctx, pb.NewUnimplementedServiceClient(cc))
		}},
	} {
		c.run(ctx, tc)
		t.Log("passed:", c.name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.malformed != 0 || len(e.calls) < 14 {
		t.Errorf("%d malformed, %q", e.malformed, e.calls)
	}
	aborts := 0
	for _, d := range e.ended {
		if d.Abort != verdict.None {
			aborts++
		}
	}
	if aborts > 3 { // the three that the client cancels or times out
		t.Errorf("%d aborts: %+v", aborts, e.ended)
	}
}

// TestGRPCErrorIsTrailersOnly: an error status without a message arrives with its
// details and trailers.
func TestGRPCErrorIsTrailersOnly(t *testing.T) {
	_, cc := grpcPair(t)
	var trailer metadata.MD
	_, err := pb.NewTestServiceClient(cc).UnaryCall(t.Context(), &pb.SimpleRequest{
		ResponseStatus: &pb.EchoStatus{Code: int32(codes.PermissionDenied), Message: "not you: é\n"},
	}, grpc.Trailer(&trailer))
	if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != "not you: é\n" {
		t.Errorf("%v", err)
	}
}

// TestGRPCRefusal: the caller of a refused call is told why, by every kind of it.
func TestGRPCRefusal(t *testing.T) {
	e, cc := grpcPair(t)
	e.denies = true
	tc := pb.NewTestServiceClient(cc)
	var trailer metadata.MD
	_, err := tc.UnaryCall(t.Context(), &pb.SimpleRequest{Payload: &pb.Payload{Body: make([]byte, 200000)}}, grpc.Trailer(&trailer))
	if id := trailer.Get("x-firma-event"); len(id) != 1 || id[0] != "aevt_1" {
		t.Errorf("the event is not named: %v", trailer)
	}
	check := func(kind string, err error) {
		if s := status.Convert(err); s.Code() != codes.PermissionDenied || s.Message() != "firma: PolicyDenied: 100% no" {
			t.Errorf("%s: %v", kind, err)
		}
	}
	check("unary", err)
	down, err := tc.StreamingOutputCall(t.Context(), &pb.StreamingOutputCallRequest{})
	if err == nil {
		_, err = down.Recv()
	}
	check("server streaming", err)
	both, err := tc.FullDuplexCall(t.Context())
	if err == nil {
		_, err = both.Recv()
	}
	check("bidirectional", err)
}

// TestGRPCManyAtOnce: a hundred streams on one connection.
func TestGRPCManyAtOnce(t *testing.T) {
	_, cc := grpcPair(t)
	tc := pb.NewTestServiceClient(cc)
	errs := make(chan error, 100)
	for range cap(errs) {
		go func() {
			stream, err := tc.FullDuplexCall(t.Context())
			for i := 0; i < 20 && err == nil; i++ {
				err = stream.Send(&pb.StreamingOutputCallRequest{
					ResponseParameters: []*pb.ResponseParameters{{Size: 10000}}, Payload: &pb.Payload{Body: make([]byte, 20000)},
				})
				if err == nil {
					_, err = stream.Recv()
				}
			}
			if err == nil {
				err = stream.CloseSend()
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
