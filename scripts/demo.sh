#!/bin/bash
# The main job, seen: a real client in a real sandbox, allowed, refused and
# recorded. Everything it talks to is started here, on loopback.
set -euo pipefail

firma=$PWD/bin/firma
origin=$PWD/bin/firma-origin
dir=$(mktemp -d)
trap 'exec 9>&- ; wait 2>/dev/null; rm -rf "$dir"' EXIT
mkdir -p "$dir"/{project,certs,home}
failed=0

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
held() { # description, then a command that must succeed
	local what=$1
	shift
	if "$@"; then printf '  held: %s\n' "$what"; else
		printf '  FAILED: %s\n' "$what"
		failed=1
	fi
}
has() { grep -qF -- "$2" "$1"; }
hasnt() { ! grep -qF -- "$2" "$1"; }

say "Two local origins: plain HTTP and TLS"
mkfifo "$dir/hold"
"$origin" -until-eof -certs "$dir/certs" -log "$dir/origin.log" <"$dir/hold" >"$dir/origin.out" 2>&1 &
exec 9>"$dir/hold"
for _ in $(seq 100); do
	if [ -s "$dir/origin.out" ]; then break; fi
	sleep 0.05
done
cat "$dir/origin.out"
port() { sed -n "s/.*\"$1\":\"127.0.0.1:\([0-9]*\)\".*/\1/p" "$dir/origin.out"; }
plain=$(port plain)
tls=$(port tls)

cat >"$dir/firma.toml" <<E2
[authority]

[sidecar.mapping]
rules_path = "rules.toml"

[sidecar.egress]
ca_cert_path = "certs/ca.pem"

[sidecar.egress.hosts]
"echo.test" = "127.0.0.1:$tls"
"plain.test" = "127.0.0.1:$plain"
"allowed.test" = "127.0.0.1:$tls"
"evil.test" = "127.0.0.1:$plain"
E2
cat >"$dir/rules.toml" <<'E2'
[[rules]]
method = "GET"
host = "plain.test"
path = "/**"
action_class = "code.read"

[[rules]]
method = "POST"
host = "plain.test"
path = "/admin/**"
action_class = "repo.admin"

# Rules that name a path: what is inside TLS is looked into.
[[rules]]
method = "GET"
host = "echo.test"
path = "/**"
action_class = "code.read"

[[rules]]
method = "DELETE"
host = "echo.test"
path = "/**"
action_class = "code.destructive"

[[rules]]
method = "CONNECT"
host = "allowed.test"
action_class = "communication.external.send"
E2
cp "$dir/certs/ca.pem" "$dir/project/"
echo "the host's secret" >"$dir/secret"
cat >"$dir/project/agent.sh" <<E2
echo "--- I am \$(id -un), and this is my home: \$(ls -A ~ | wc -l) files"
echo "--- an allowed request"
curl -sS -o /dev/null -w '%{http_code}\n' http://plain.test/hello
echo "--- an allowed tunnel (TLS end to end)"
curl -sS -o /dev/null -w '%{http_code}\n' --cacert ca.pem https://allowed.test/hello
echo "--- an allowed request inside TLS, judged by its path; nothing says whom to trust"
curl -sS -o /dev/null -w '%{http_code}\n' https://echo.test/inside
echo "--- the same by a client that ignores the proxy"
curl -sS --noproxy '*' -o /dev/null -w '%{http_code}\n' https://echo.test/captured
echo "--- a request inside TLS that policy forbids"
curl -sS -X DELETE https://echo.test/inside; echo
echo "--- a request that policy forbids"
curl -sS -X POST http://plain.test/admin/keys; echo
echo "--- a destination no rule covers"
curl -sS http://evil.test/; echo
echo "--- a raw socket, past the proxy, to the origin's own address"
(exec 3<>/dev/tcp/127.0.0.1/$plain) 2>/dev/null && echo REACHED-ORIGIN || echo "dead end"
(exec 3<>/dev/tcp/192.0.2.1/443) 2>/dev/null && echo REACHED-NET || echo "dead end"
echo "--- a secret of the host"
cat "$dir/secret" 2>/dev/null && echo READ-SECRET || echo "not there"
E2

say "The same raw connection and the same file, outside the sandbox (controls)"
held "the origin answers a raw connection here" bash -c "exec 3<>/dev/tcp/127.0.0.1/$plain"
held "the secret can be read here" grep -q "host's secret" "$dir/secret"

say "firma run -- bash agent.sh"
export FIRMA_STATE_DIR=$dir/state HOME=$dir/home
(cd "$dir/project" && "$firma" run --config "$dir/firma.toml" --authority local -- bash agent.sh) >"$dir/out" 2>"$dir/err" || failed=1
cat "$dir/out" "$dir/err"

say "What held"
log=$(ls "$dir"/state/audit/*.jsonl)
held "ALLOW: four answers of 200 came through" test "$(grep -c '^200$' "$dir/out")" = 4
held "what went on inside TLS is in the log, by path" grep -q '"resource":"echo.test/captured"' "$log"
held "DENY by policy: 403 with PolicyDenied, twice" test "$(grep -c '"reason":"PolicyDenied"' "$dir/out")" = 2
held "an unmapped destination: 403 with UnclassifiedIntent" has "$dir/out" '"reason":"UnclassifiedIntent"'
held "no refused request reached the origin" hasnt "$dir/origin.log" '/admin/keys'
held "nor did the one inside TLS" hasnt "$dir/origin.log" '"DELETE"'
held "raw sockets dead-end" hasnt "$dir/out" REACHED
held "the host's secret can't be read" hasnt "$dir/out" READ-SECRET
held "the summary names what was refused, and the way to allow it" has "$dir/err" 'firma run --allow evil.test'
held "the log has all of it" test "$(grep -c '"outcome":"DENY"' "$log")" -ge 2
held "the log verifies" "$firma" audit verify

say "One character of the log changed"
sed -i '0,/"reason":"PolicyDenied"/s//"reason":"PolicyDenies"/' "$log"
"$firma" audit verify "$log" >"$dir/verify" && failed=1
cat "$dir/verify"
held "the edit is found and named" grep -qi 'seq\|event' "$dir/verify"

echo
if [ "$failed" != 0 ]; then
	echo "demo: something did not hold, see FAILED above"
	exit 1
fi
echo "demo: all of it held: allowed, looked into, captured, refused, dead-ended, unreadable, recorded, verified"
