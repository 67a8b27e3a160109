package proxy

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firma/internal/testkit/freeport"
	"firma/internal/verdict"
)

// TestRealRetry: OpenSSL's server, which wants another group than its clients offer a
// share of, and OpenSSL's client and crypto/tls's, through a tunnel held to its name.
func TestRealRetry(t *testing.T) {
	ca := newCertAuthority(t)
	addr := opensslServer(t, ca, "-groups", "P-384", "-rev")
	bothWays(t, func(t *testing.T, dialer func(string) Dialer) {
		e := &enforcer{strict: true, ended: make(chan Dispatch, 10)}
		_, proxy := start(t, Config{Dialer: dialer(addr), Enforcer: e})
		c := connectTo(t, proxy)
		c.send(connectReq)
		c.expect(established)
		tc := tls.Client(c.TCPConn, &tls.Config{ServerName: "api.example.com", RootCAs: ca.pool, CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP384}})
		if err := tc.Handshake(); err != nil || !tc.ConnectionState().HelloRetryRequest {
			t.Fatal("no handshake with a second hello: ", err)
		}
		io.WriteString(tc, "hello\n")
		if line, err := bufio.NewReader(tc).ReadString('\n'); line != "olleh\n" {
			t.Errorf("%q %v", line, err)
		}
		tc.Close()
		client := exec.CommandContext(t.Context(), "openssl", "s_client", "-groups", "X25519:P-384", "-proxy", proxy,
			"-connect", "api.example.com:443", "-servername", "api.example.com", "-quiet", "-msg")
		in, err := client.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := client.StdoutPipe()
		if err == nil {
			err = client.Start()
		}
		if err != nil {
			t.Fatal(err, " (scripts/deps.sh)")
		}
		io.WriteString(in, "hello\n")
		said, hellos := bufio.NewScanner(out), 0
		for said.Scan() && said.Text() != "olleh" {
			if strings.Contains(said.Text(), "ClientHello") {
				hellos++
			}
		}
		if hellos != 2 || said.Text() != "olleh" {
			t.Errorf("%d hellos, and %q", hellos, said.Text())
		}
		in.Close()
		client.Process.Kill()
		client.Wait()
		for range 2 {
			if d := receive(t, e.ended); d.Abort != verdict.None {
				t.Errorf("%+v", d)
			}
		}
	})
}

// opensslServer runs openssl s_server with a certificate for api.example.com and
// returns its address.
func opensslServer(t *testing.T, ca *certAuthority, args ...string) string {
	t.Helper()
	leaf, err := ca.For("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "server.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(t.Context(), "openssl", append([]string{"s_server", "-accept", addr, "-cert", file}, args...)...)
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err, " (scripts/deps.sh)")
	}
	t.Cleanup(func() { server.Process.Kill(); server.Wait() })
	ready := bufio.NewScanner(out)
	for ready.Scan() && !strings.HasPrefix(ready.Text(), "ACCEPT") {
	}
	if ready.Err() != nil || ready.Text() == "" {
		t.Fatal("openssl s_server does not start")
	}
	go io.Copy(io.Discard, out)
	return addr
}
