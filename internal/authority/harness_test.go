package authority_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"firma/internal/action"
	"firma/internal/authority"
	"firma/internal/sidecar/uplink"
	"firma/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	key       = wire.PreSharedKey("the-key-of-this-run")
	permitAll = "permit (principal, action, resource);\n"
)

// clock is a time that moves when the test says so.
type clock struct {
	mu      sync.Mutex
	now     time.Time
	waiters []waiter
	asked   chan time.Duration // every wait, in the order of asking
}

type waiter struct {
	at time.Time
	c  chan time.Time
}

func newClock() *clock {
	return &clock{now: time.Now(), asked: make(chan time.Duration, 10_000)}
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := waiter{c.now.Add(d), make(chan time.Time, 1)}
	c.waiters = append(c.waiters, w)
	c.asked <- d
	return w.c
}

// advance moves the clock and fires what is due.
func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	left := c.waiters[:0]
	for _, w := range c.waiters {
		if w.at.After(c.now) {
			left = append(left, w)
			continue
		}
		w.c <- c.now
	}
	c.waiters = left
}

// expect waits until somebody has asked for a wait that fits.
func (c *clock) expect(t testing.TB, what string, fits func(time.Duration) bool) time.Duration {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case d := <-c.asked:
			if fits(d) {
				return d
			}
		case <-limit:
			t.Fatal("nobody waits for " + what)
		}
	}
}

func exactly(want time.Duration) func(time.Duration) bool {
	return func(d time.Duration) bool { return d == want }
}

// running is an Authority and how to stop it.
type running struct {
	authority.Report
	stop func()
}

// inMemory is the configuration of the Authority of one run.
func inMemory() authority.Config {
	return authority.Config{Policies: []byte(permitAll), IssuancePolicies: []byte(permitAll), PreSharedKey: key}
}

// run starts an Authority and waits until it listens; it stops with the test.
func run(t testing.TB, cfg authority.Config) *running {
	t.Helper()
	reports := make(chan authority.Report, 1)
	cfg.Ready = func(r authority.Report) { reports <- r }
	a, err := authority.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case r := <-reports:
		return &running{r, stop}
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return nil
	}
}

// towards is the configuration of an uplink to r.
func towards(r *running) uplink.Config {
	return uplink.Config{
		URL: r.URL(), PublicKey: r.PublicKey, Credentials: uplink.Credentials{PreSharedKey: key},
		Request: &uplink.Request{AgentID: "local-dev", SessionID: "s-1", Actions: action.All()},
	}
}

// start returns a started uplink; it is closed with the test, before the
// Authority is.
func start(t testing.TB, cfg uplink.Config) *uplink.Uplink {
	t.Helper()
	u, err := uplink.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// startErr returns why an uplink does not start.
func startErr(t testing.TB, cfg uplink.Config) error {
	t.Helper()
	u, err := uplink.New(cfg)
	if err != nil {
		return err
	}
	err = u.Start(context.Background())
	u.Close()
	if err == nil {
		return errors.New("it started")
	}
	return err
}

// eventually polls a condition that another goroutine is about to make true; the
// test's own deadline is the only limit.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// logged collects messages of a logger.
type logged struct {
	mu   sync.Mutex
	text []string
}

func (l *logged) logger() *slog.Logger { return slog.New(l) }

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }
func (l *logged) Handle(_ context.Context, r slog.Record) error {
	line := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { line += " " + a.String(); return true })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, line)
	return nil
}

func (l *logged) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var s string
	for _, t := range l.text {
		s += t + "\n"
	}
	return s
}

// otherKey is a key that is not the Authority's.
func otherKey(t testing.TB) ed25519.PublicKey {
	t.Helper()
	pub, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pub
}
