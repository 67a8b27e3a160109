package corpus

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const nginxConf = `daemon off;
master_process off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	large_client_header_buffers 8 256k;
	client_max_body_size 0;
	keepalive_requests 1000;
	server {
		listen %[2]s;
		underscores_in_headers on;
		return 200 "$request_method $http_host $request_uri";
	}
}
`

// readNginx lets nginx read each stream. It does not tell the bodies.
func readNginx(t *testing.T, streams []string) []reading {
	t.Helper()
	dir := t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	addr := ln.Addr().String()
	ln.Close()
	conf := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, addr), 0o600))
	cmd := exec.Command("/usr/sbin/nginx", "-p", dir, "-e", dir+"/error.log", "-c", conf)
	must(t, cmd.Start())
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if nc, err := net.Dial("tcp", addr); err == nil {
			nc.Close()
			break
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(dir + "/error.log")
			t.Fatalf("nginx does not listen (make deps installs it)\n%s", log)
		}
	}
	out := make([]reading, len(streams))
	for i, s := range streams {
		out[i] = askNginx(t, addr, s)
	}
	return out
}

func askNginx(t *testing.T, addr, stream string) (r reading) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	must(t, err)
	defer nc.Close()
	must(t, nc.SetDeadline(time.Now().Add(patience)))
	go func() {
		io.WriteString(nc, stream)
		nc.(*net.TCPConn).CloseWrite()
	}()
	for in := bufio.NewReader(nc); ; {
		method := "GET"
		if strings.HasPrefix(stream, "HEAD ") {
			method = "HEAD"
		}
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return r
		}
		if res.StatusCode == 100 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		switch {
		case err != nil:
			return r
		case res.StatusCode != 200:
			r = append(r, "rest")
		default:
			r = append(r, string(body))
		}
	}
}
