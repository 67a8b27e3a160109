package authority_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"

	"firma/internal/wire"
	"firma/internal/wire/firmav1"
	"firma/internal/wire/firmav1/firmav1connect"
	"firma/internal/wire/witnessv1"
	"firma/internal/wire/witnessv1/witnessv1connect"
)

// h2c is a client that speaks HTTP/2 without TLS, as any gRPC client would.
func h2c(t testing.TB) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// h1 is a client that speaks HTTP/1.1.
func h1(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// ways are the protocols a caller may speak.
func ways(t testing.TB) map[string]struct {
	client  *http.Client
	options []connect.ClientOption
} {
	return map[string]struct {
		client  *http.Client
		options []connect.ClientOption
	}{
		"grpc over h2c":        {h2c(t), []connect.ClientOption{connect.WithGRPC()}},
		"grpc-web over http1":  {h1(t), []connect.ClientOption{connect.WithGRPCWeb()}},
		"connect over h2c":     {h2c(t), nil},
		"json over http1":      {h1(t), []connect.ClientOption{connect.WithProtoJSON()}},
		"gzip requests (http)": {h1(t), []connect.ClientOption{connect.WithAcceptCompression("gzip", nil, nil)}},
	}
}

// methods calls each method and returns its error; a stream is ended after its
// first answer, which for WatchRevocations is its header.
func methods(url string, c connect.HTTPClient, psk string, o ...connect.ClientOption) map[string]func(context.Context) error {
	a := firmav1connect.NewAuthorityServiceClient(c, url, o...)
	w := witnessv1connect.NewWitnessServiceClient(c, url, o...)
	cred := &firmav1.SidecarCredentials{PreSharedKey: psk}
	if psk == "" {
		cred = nil
	}
	return map[string]func(context.Context) error{
		"firma.v1.AuthorityService.IssueCapability": func(ctx context.Context) error {
			res, err := a.IssueCapability(ctx, connect.NewRequest(&firmav1.IssueCapabilityRequest{
				AgentId: "a", SessionId: "s", RequestedActions: []string{"code.read"}, ResourceScope: "*", Credentials: cred}))
			if err == nil && !res.Msg.GetGranted() {
				err = errors.New("not granted")
			}
			return err
		},
		"firma.v1.AuthorityService.WatchPolicyBundle": func(ctx context.Context) error {
			s, err := a.WatchPolicyBundle(ctx, connect.NewRequest(&firmav1.WatchPolicyBundleRequest{Credentials: cred}))
			if err != nil {
				return err
			}
			defer s.Close()
			if !s.Receive() {
				return s.Err()
			}
			return nil
		},
		"firma.v1.AuthorityService.WatchRevocations": func(ctx context.Context) error {
			s, err := a.WatchRevocations(ctx, connect.NewRequest(&firmav1.WatchRevocationsRequest{Credentials: cred}))
			if err != nil {
				return err
			}
			defer s.Close()
			if s.ResponseHeader().Get(wire.HeaderReplay) != "" {
				return nil
			}
			s.Receive()
			return s.Err()
		},
		"firma.witness.v1.WitnessService.SubmitCheckpoint": func(ctx context.Context) error {
			_, err := w.SubmitCheckpoint(ctx, connect.NewRequest(&witnessv1.SubmitCheckpointRequest{
				Origin: "log", RootHash: make([]byte, 32), Credentials: cred}))
			return err
		},
	}
}

// Every method of every service, as every kind of caller, in every protocol. A
// method without a call here fails, and so does a call without a method.
func TestWhoMayCallWhat(t *testing.T) {
	r := run(t, inMemory())
	for name, way := range ways(t) {
		for caller, psk := range map[string]string{"the Sidecar": string(key), "a wrong key": "wrong", "no credentials": ""} {
			calls := methods(r.URL(), way.client, psk, way.options...)
			for _, method := range declared(t) {
				do, known := calls[method]
				if !known {
					t.Fatalf("no expectation for %s", method)
				}
				delete(calls, method)
				ctx, cancel := context.WithCancel(context.Background())
				err := do(ctx)
				cancel()
				if psk == string(key) && err != nil {
					t.Errorf("%s, %s, %s: %v", name, caller, method, err)
				}
				if psk != string(key) && connect.CodeOf(err) != connect.CodePermissionDenied {
					t.Errorf("%s, %s, %s: %v, want permission denied", name, caller, method, err)
				}
			}
			for method := range calls {
				t.Errorf("%s is expected but not declared", method)
			}
		}
	}
}

func declared(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, f := range []protoreflect.FileDescriptor{firmav1.File_firma_v1_authority_proto, witnessv1.File_firma_witness_v1_witness_proto} {
		for i := range f.Services().Len() {
			for j := range f.Services().Get(i).Methods().Len() {
				names = append(names, string(f.Services().Get(i).Methods().Get(j).FullName()))
			}
		}
	}
	return names
}

// post sends raw bytes, as a program without our client would.
func post(t *testing.T, url, contentType, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := h1(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestPlainHTTP(t *testing.T) {
	r := run(t, inMemory())
	issue := r.URL() + firmav1connect.AuthorityServiceIssueCapabilityProcedure
	good := `{"agentId":"a","sessionId":"s","requestedActions":["code.read"],"resourceScope":"*","credentials":{"preSharedKey":"` + string(key) + `"}}`
	tests := []struct {
		name, url, contentType, body string
		header                       []string
		status                       int
		contains                     string
	}{
		{"JSON", issue, "application/json", good, nil, 200, `"granted":true`},
		{"a web page", issue, "application/json", good, []string{"Origin", "http://evil.test"}, 403, ""},
		{"a web page without Origin", issue, "application/json", good, []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a form", issue, "text/plain", good, nil, 415, ""},
		{"compressed", issue, "application/json", good, []string{"Content-Encoding", "gzip"}, 501, ""},
		{"too large", issue, "application/json", `{"agentId":"` + strings.Repeat("a", 1<<20) + `"}`, nil, 429, ""},
		{"not JSON", issue, "application/json", "{", nil, 400, ""},
		{"unknown field", issue, "application/json", `{"surprise":1}`, nil, 403, ""}, // ignored, as the contract's encoding does
		{"unknown method", r.URL() + "/firma.v1.AuthorityService/Nope", "application/json", good, nil, 404, ""},
		{"root", r.URL() + "/", "application/json", good, nil, 404, ""},
	}
	for _, tt := range tests {
		status, text := post(t, tt.url, tt.contentType, tt.body, tt.header...)
		if status != tt.status || !strings.Contains(strings.ReplaceAll(text, " ", ""), tt.contains) {
			t.Errorf("%s: %d %.200s, want %d with %q", tt.name, status, text, tt.status, tt.contains)
		}
	}
}

func TestProofIsAnsweredForNoncesOnly(t *testing.T) {
	r := run(t, inMemory())
	nonce := wire.NewNonce()
	for query, want := range map[string]int{
		"?nonce=" + nonce: 200, "": 400, "?nonce=": 400, "?nonce=" + nonce[1:]: 400,
		"?nonce=" + strings.ToUpper("a"+nonce[1:]): 400, "?nonce=" + nonce + "%0a": 400,
	} {
		res, err := h1(t).Get(r.URL() + wire.ProofPath + query)
		if err != nil {
			t.Fatal(err)
		}
		sig, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want || wire.VerifyProof(r.PublicKey, nonce, r.Addr, sig) != (want == 200) {
			t.Errorf("%q: status %d, want %d; %d bytes", query, res.StatusCode, want, len(sig))
		}
	}
}
