package uplink

import (
	"context"
	"crypto/ed25519"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"

	"firma/internal/action"
	"firma/internal/capability"
	"firma/internal/wire"
	"firma/internal/wire/firmav1"
	"firma/internal/wire/firmav1/firmav1connect"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const permitAll = "permit (principal, action, resource);\n"

// fake is an Authority that says what a test wants it to say.
type fake struct {
	key    ed25519.PrivateKey
	url    string
	proves bool

	issue       func(*firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error)
	bundles     func(ctx context.Context, send func(*firmav1.PolicyBundle) error) error
	revocations func(ctx context.Context, header http.Header, send func(id string) error) error
}

// newFake returns one that behaves, until it is told otherwise.
func newFake(t testing.TB) *fake {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{key: key, proves: true}
	f.issue = func(r *firmav1.IssueCapabilityRequest) (*firmav1.IssueCapabilityResponse, error) {
		return f.grant(t, claims(r)), nil
	}
	f.bundles = func(ctx context.Context, send func(*firmav1.PolicyBundle) error) error {
		if err := send(goodBundle("v1")); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	f.revocations = func(ctx context.Context, h http.Header, send func(string) error) error {
		h.Set(wire.HeaderReplay, "1")
		if err := send("ctok_revoked"); err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	}
	f.serve(t)
	return f
}

func goodBundle(version string) *firmav1.PolicyBundle {
	return &firmav1.PolicyBundle{Version: version, Policies: []byte(permitAll), TtlSeconds: 30}
}

// claims are what was asked for.
func claims(r *firmav1.IssueCapabilityRequest) capability.Claims {
	now := time.Now().Truncate(time.Second)
	return capability.Claims{
		TokenID: "ctok_1", AgentID: r.GetAgentId(), SessionID: r.GetSessionId(), ActionSet: r.GetRequestedActions(),
		ResourceScope: r.GetResourceScope(), IssuedAt: now, Expiry: now.Add(time.Duration(r.GetRequestedTtlSeconds()) * time.Second),
	}
}

func (f *fake) grant(t testing.TB, c capability.Claims) *firmav1.IssueCapabilityResponse {
	raw, err := capability.Sign(f.key, c)
	if err != nil {
		t.Error(err)
	}
	return &firmav1.IssueCapabilityResponse{Granted: true, Token: &firmav1.CapabilityToken{
		Signature: []byte(raw), Format: firmav1.TokenFormat_TOKEN_FORMAT_PASETO_V4}}
}

func (f *fake) serve(t testing.TB) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle(firmav1connect.NewAuthorityServiceHandler(f))
	mux.HandleFunc(wire.ProofPath, func(w http.ResponseWriter, r *http.Request) {
		if !f.proves {
			http.NotFound(w, r)
			return
		}
		addr := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(ed25519.Sign(f.key, wire.ProofMessage(r.URL.Query().Get(wire.ProofParam), addr)))
	})
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	srv.Start()
	t.Cleanup(srv.Close)
	f.url = srv.URL
}

func (f *fake) IssueCapability(_ context.Context, r *connect.Request[firmav1.IssueCapabilityRequest]) (*connect.Response[firmav1.IssueCapabilityResponse], error) {
	res, err := f.issue(r.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(res), nil
}

func (f *fake) WatchPolicyBundle(ctx context.Context, _ *connect.Request[firmav1.WatchPolicyBundleRequest], s *connect.ServerStream[firmav1.PolicyBundleUpdate]) error {
	return f.bundles(ctx, func(b *firmav1.PolicyBundle) error { return s.Send(&firmav1.PolicyBundleUpdate{Bundle: b}) })
}

func (f *fake) WatchRevocations(ctx context.Context, _ *connect.Request[firmav1.WatchRevocationsRequest], s *connect.ServerStream[firmav1.RevocationEvent]) error {
	return f.revocations(ctx, s.ResponseHeader(), func(id string) error {
		if id == "" {
			return s.Send(nil) // headers only
		}
		return s.Send(&firmav1.RevocationEvent{TokenId: id})
	})
}

// config is towards f, asking for two classes.
func (f *fake) config() Config {
	return Config{
		URL: f.url, PublicKey: f.key.Public().(ed25519.PublicKey), Credentials: Credentials{PreSharedKey: "k"},
		Request: &Request{AgentID: "agent", SessionID: "session", Actions: []action.Class{"code.read", "code.write"}},
	}
}

// started returns an uplink that is closed with the test.
func started(t testing.TB, cfg Config) *Uplink {
	t.Helper()
	u, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// refused returns why an uplink does not start.
func refusedStart(t testing.TB, cfg Config) error {
	t.Helper()
	u, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = u.Start(context.Background())
	u.Close()
	return err
}

// waits is an After that never fires by itself: a test takes each wait from it
// and fires it.
type waits struct {
	mu    sync.Mutex
	asked chan wait
}

type wait struct {
	d    time.Duration
	fire chan time.Time
}

func newWaits() *waits { return &waits{asked: make(chan wait, 1000)} }

func (w *waits) After(d time.Duration) <-chan time.Time {
	c := make(chan time.Time, 1)
	w.asked <- wait{d, c}
	return c
}

// fixed reports whether d is a wait of a stream and not a backoff: the grace, the
// first bundle, the silence of goodBundle.
func fixed(d time.Duration) bool {
	return d == DefaultRevocationGrace || d == DefaultCallTimeout || d == 30*time.Second
}

// next returns the next wait that fits; others are dropped and never end.
func (w *waits) next(t testing.TB, fits func(time.Duration) bool) wait {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	limit := time.After(30 * time.Second)
	for {
		select {
		case a := <-w.asked:
			if fits(a.d) {
				return a
			}
		case <-limit:
			t.Fatal("nobody waits")
		}
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// replay sends ids after announcing them, and then nothing.
func replay(ids ...string) func(context.Context, http.Header, func(string) error) error {
	ids = slices.Clone(ids)
	return func(ctx context.Context, h http.Header, send func(string) error) error {
		h.Set(wire.HeaderReplay, strconv.Itoa(len(ids)))
		for _, id := range append([]string{""}, ids...) {
			if err := send(id); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return ctx.Err()
	}
}
