package profile

import (
	"net"
	"os"
	"path/filepath"

	"firma/internal/sandbox"
)

// javaSettings are where JDKs keep the network's settings: Java reads no variable
// for a proxy, and JAVA_TOOL_OPTIONS is announced on standard error by every one.
const javaSettings = "/usr/lib/jvm/*/conf/net.properties"

// maxJavaSettings bounds such a file, in bytes.
const maxJavaSettings = 1 << 20

// javaProxy adds the proxy to the settings of each JDK that the sandbox shows. A
// JDK whose settings can't be read is left as it is: its connections then go
// nowhere by themselves.
func javaProxy(spec *sandbox.Spec) {
	found, _ := filepath.Glob(javaSettings) // the pattern is well-formed
	host, port, _ := net.SplitHostPort(ProxyAddress)
	seen := map[string]bool{}
	for _, p := range found {
		real, err := filepath.EvalSymlinks(p)
		if err != nil || seen[real] || !spec.Covered(real) {
			continue
		}
		seen[real] = true
		info, err := os.Stat(real)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxJavaSettings {
			continue
		}
		data, err := os.ReadFile(real)
		if err != nil {
			continue
		}
		// The last of a key counts.
		data = append(data, "\nhttp.proxyHost="+host+"\nhttp.proxyPort="+port+"\nhttps.proxyHost="+host+"\nhttps.proxyPort="+port+
			"\nhttp.nonProxyHosts=localhost|127.*|[::1]\n"...)
		spec.Files = append(spec.Files, sandbox.File{Path: real, Data: data, Over: true})
	}
}
