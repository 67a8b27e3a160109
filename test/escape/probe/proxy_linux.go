package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

var proxyTechniques = map[string]technique{
	"http":    plainHTTP,
	"through": tunnel,
	"raw":     rawHTTP,
	"bytes":   rawBytes,
}

const netPatience = 5 * time.Second

func dial(addr string) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", addr, netPatience)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(2 * netPatience))
}

// plainHTTP is ADDR METHOD TARGET [HEADER…]: one request written to ADDR (a proxy,
// or the server itself) with TARGET as it stands. Success is an answer below 400.
func plainHTTP(args []string) (string, error) {
	if len(args) < 3 {
		return "", errUsage
	}
	var req strings.Builder
	fmt.Fprintf(&req, "%s %s HTTP/1.1\r\n", args[1], args[2])
	host := args[2]
	if _, rest, ok := strings.Cut(host, "://"); ok {
		host, _, _ = strings.Cut(rest, "/")
	}
	headers := strings.Join(args[3:], "\r\n")
	if !strings.Contains("\r\n"+strings.ToLower(headers), "\r\nhost:") {
		fmt.Fprintf(&req, "Host: %s\r\n", host)
	}
	if headers != "" {
		req.WriteString(headers + "\r\n")
	}
	req.WriteString("Connection: close\r\n\r\n")
	return answers(args[0], req.String(), 1)
}

// rawHTTP is ADDR N BYTES: write BYTES (Go escapes allowed) and judge the Nth
// answer by its status.
func rawHTTP(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	text, err := unescape(args[2])
	if err != nil {
		return "", err
	}
	return answers(args[0], text, n)
}

func unescape(s string) (string, error) {
	return strconv.Unquote(`"` + strings.ReplaceAll(s, `"`, `\"`) + `"`)
}

// answers reads them up to the nth. A connection that ends before is a
// refusal: nothing was answered.
func answers(addr, text string, n int) (string, error) {
	c, err := dial(addr)
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	go func() { _, _ = io.WriteString(c, text) }()
	r := bufio.NewReader(c)
	var codes []string
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return "", &no{fmt.Sprintf("answers %v, then the connection ended", codes)}
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		codes = append(codes, resp.Status)
		if len(codes) < n {
			continue
		}
		detail := fmt.Sprintf("%v %.400s", codes, bytes.TrimSpace(body))
		if resp.StatusCode >= 400 {
			return "", &no{detail}
		}
		return detail, nil
	}
}

// tunnel is PROXY TARGET TOKEN: CONNECT to TARGET and get TOKEN back through it.
func tunnel(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	c, err := dial(args[0])
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", args[1], args[1])
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: "CONNECT"})
	if err != nil {
		return "", &no{"the connection ended: " + err.Error()}
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return "", &no{fmt.Sprintf("%s %.400s", resp.Status, bytes.TrimSpace(body))}
	}
	return throughTunnel(c, r, args[2])
}

func throughTunnel(c net.Conn, r *bufio.Reader, token string) (string, error) {
	if _, err := io.WriteString(c, token); err != nil {
		return "", &no{"tunnel opened, then closed: " + err.Error()}
	}
	got := make([]byte, len(token))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != token {
		return "", &no{fmt.Sprintf("tunnel opened, but answered %.80q (%v)", got, err)}
	}
	return "the bait answered through the tunnel", nil
}

// rawBytes is ADDR HOPE BYTES: write BYTES, read to the end, and succeed if HOPE
// is in the answer.
func rawBytes(args []string) (string, error) {
	if len(args) != 3 {
		return "", errUsage
	}
	text, err := unescape(args[2])
	if err != nil {
		return "", err
	}
	c, err := dial(args[0])
	if err != nil {
		return "connect", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", &no{err.Error()}
	}
	if half, ok := c.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	got, _ := io.ReadAll(io.LimitReader(c, 64<<10))
	if !bytes.Contains(got, []byte(args[1])) {
		return "", &no{fmt.Sprintf("answered %.200q", got)}
	}
	return fmt.Sprintf("answered %.200q", got), nil
}
