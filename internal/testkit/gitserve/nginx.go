package gitserve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Nginx is a running nginx with fcgiwrap and git http-backend behind it.
type Nginx struct {
	plain, tls netip.AddrPort
	dir        string
	procs      []*exec.Cmd
}

// NginxOptions says what to serve and as whom.
type NginxOptions struct {
	Root     string // of the bare repositories
	Cert     string // PEM file for TLS; "" = plain only
	Key      string
	Identity func(*exec.Cmd)    // runs the processes as another user; nil = this one
	Own      func(string) error // gives a path to that user; nil = already theirs
}

// StartNginx starts both programs. They inherit listening sockets, so connections
// succeed from the moment it returns. It needs the Debian packages nginx-light and
// fcgiwrap. The access log, one line per request, is at AccessLog.
func StartNginx(o NginxOptions) (*Nginx, error) {
	nginx, err := program("nginx", "nginx-light")
	if err != nil {
		return nil, err
	}
	fcgiwrap, err := program("fcgiwrap", "fcgiwrap")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "gitserve-nginx")
	if err != nil {
		return nil, err
	}
	n := &Nginx{dir: dir}
	if err := n.start(o, nginx, fcgiwrap); err != nil {
		return nil, errors.Join(fmt.Errorf("gitserve: %w", err), n.Close())
	}
	return n, nil
}

func program(name, pkg string) (string, error) {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/sbin") {
		path := filepath.Join(dir, name)
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("gitserve: %s is missing (apt-get install %s)", name, pkg)
}

func (n *Nginx) start(o NginxOptions, nginx, fcgiwrap string) error {
	plain, err := listenFile()
	if err != nil {
		return err
	}
	defer plain.Close()
	n.plain = plain.addr
	files, listens := []*os.File{plain.File}, "    listen "+plain.addr.String()+";\n"
	if o.Cert != "" {
		tls, err := listenFile()
		if err != nil {
			return err
		}
		defer tls.Close()
		n.tls = tls.addr
		files = append(files, tls.File)
		listens += fmt.Sprintf("    listen %s ssl;\n    ssl_certificate %s;\n    ssl_certificate_key %s;\n", tls.addr, o.Cert, o.Key)
	}
	fcgi, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(n.dir, "fcgi.sock"), Net: "unix"})
	if err != nil {
		return err
	}
	defer fcgi.Close()
	fcgi.SetUnlinkOnClose(false)
	wrapped, err := fcgi.File()
	if err != nil {
		return err
	}
	defer wrapped.Close()
	if err := n.configure(o, listens); err != nil {
		return err
	}
	if err := n.run(o, []*os.File{wrapped}, nil, fcgiwrap, "-f"); err != nil {
		return err
	}
	return n.run(o, nil, files, nginx, "-p", n.dir, "-c", filepath.Join(n.dir, "nginx.conf"), "-e", filepath.Join(n.dir, "error.log"))
}

type listening struct {
	*os.File
	addr netip.AddrPort
}

func listenFile() (*listening, error) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	defer ln.Close()
	f, err := ln.File()
	return &listening{f, ln.Addr().(*net.TCPAddr).AddrPort()}, err
}

func (n *Nginx) configure(o NginxOptions, listens string) error {
	backend, err := backend()
	if err != nil {
		return err
	}
	conf := strings.NewReplacer("@DIR@", n.dir, "@ROOT@", o.Root, "@BACKEND@", backend, "@LISTEN@", listens, "@USER@", user(o)).Replace(nginxConf)
	if err := os.WriteFile(filepath.Join(n.dir, "nginx.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	if o.Own == nil {
		return nil
	}
	return errors.Join(o.Own(n.dir), o.Own(filepath.Join(n.dir, "nginx.conf")), o.Own(filepath.Join(n.dir, "fcgi.sock")))
}

// user keeps the workers of a root nginx with its files; otherwise nginx has no
// other user to become.
func user(o NginxOptions) string {
	if os.Geteuid() == 0 && o.Identity == nil {
		return "user root;\n"
	}
	return ""
}

// nginxConf keeps every path it writes to under its own directory, so that an
// ordinary user can run it.
const nginxConf = `@USER@daemon off;
worker_processes 1;
pid @DIR@/nginx.pid;
events { worker_connections 256; }
http {
  access_log @DIR@/access.log;
  client_body_temp_path @DIR@/body;
  proxy_temp_path @DIR@/proxy;
  fastcgi_temp_path @DIR@/fastcgi;
  uwsgi_temp_path @DIR@/uwsgi;
  scgi_temp_path @DIR@/scgi;
  client_max_body_size 0;
  server {
@LISTEN@
    location / {
      fastcgi_pass unix:@DIR@/fcgi.sock;
      fastcgi_param SCRIPT_FILENAME @BACKEND@;
      fastcgi_param GIT_PROJECT_ROOT @ROOT@;
      fastcgi_param GIT_HTTP_EXPORT_ALL 1;
      fastcgi_param REMOTE_USER tester;
      fastcgi_param PATH_INFO $uri;
      fastcgi_param QUERY_STRING $query_string;
      fastcgi_param REQUEST_METHOD $request_method;
      fastcgi_param CONTENT_TYPE $content_type;
      fastcgi_param CONTENT_LENGTH $content_length;
      fastcgi_param HTTP_GIT_PROTOCOL $http_git_protocol;
      fastcgi_param HTTP_CONTENT_ENCODING $http_content_encoding;
    }
  }
}
`

// run starts a program. stdin, when given, is its listening socket (fcgiwrap);
// extra files are sockets that nginx takes over by the variable NGINX.
func (n *Nginx) run(o NginxOptions, stdin, extra []*os.File, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Env = append(environ(o.Root), "PATH="+os.Getenv("PATH"))
	cmd.ExtraFiles = extra
	if len(stdin) > 0 {
		cmd.Stdin = stdin[0]
	}
	if len(extra) > 0 {
		fds := ""
		for i := range extra {
			fds += strconv.Itoa(3+i) + ";"
		}
		cmd.Env = append(cmd.Env, "NGINX="+fds)
	}
	dieWithParent(cmd)
	if o.Identity != nil {
		o.Identity(cmd)
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	n.procs = append(n.procs, cmd)
	return nil
}

// PlainAddr is where plain HTTP is served.
func (n *Nginx) PlainAddr() netip.AddrPort { return n.plain }

// TLSAddr is where TLS is served, invalid without a certificate.
func (n *Nginx) TLSAddr() netip.AddrPort { return n.tls }

// AccessLog is nginx's log of requests.
func (n *Nginx) AccessLog() string { return filepath.Join(n.dir, "access.log") }

// Close ends both programs and removes their files.
func (n *Nginx) Close() error {
	for i := len(n.procs) - 1; i >= 0; i-- {
		p := n.procs[i]
		_ = p.Process.Signal(os.Interrupt)
		t := time.AfterFunc(5*time.Second, func() { _ = p.Process.Kill() })
		_ = p.Wait() // ended by our signal
		t.Stop()
	}
	return os.RemoveAll(n.dir)
}
