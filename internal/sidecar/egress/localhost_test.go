package egress

import (
	"context"
	"errors"
	"testing"

	"firma/internal/verdict"
)

// TestLocalhost: the name is this machine, whatever a resolver would say.
func TestLocalhost(t *testing.T) {
	public := &answers{lists: [][]string{{"93.184.216.34"}}}
	d := dialer(t, Config{Resolver: public})
	for _, host := range []string{"localhost", "x.localhost"} {
		var refused *Error
		if _, err := d.Dial(context.Background(), host, 80); !errors.As(err, &refused) || refused.Reason != verdict.DestinationForbidden {
			t.Errorf("%s: %v, want DestinationForbidden", host, err)
		}
	}
	if len(public.names) != 0 {
		t.Errorf("the resolver was asked for %q", public.names)
	}
	at, _ := listen(t, "127.0.0.1:0")
	d = dialer(t, Config{Allowed: prefixes("127.0.0.1/32", "::1/128")})
	c, err := d.Dial(context.Background(), "localhost", at.Port())
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}
