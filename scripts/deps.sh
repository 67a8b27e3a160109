#!/bin/sh
# Installs what `make demo`, `make test` or `make bench-peers` needs and this
# machine lacks.
set -eu
want=${1:-demo}

need() { # command package
	command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
missing=
need bwrap bubblewrap
need curl curl
need git git
need openssl openssl
need python3 python3
if [ "$want" = test ]; then
	need gcc gcc
	need jq jq
	need node nodejs
	need npm npm
	need nghttp nghttp2-client
	need nginx nginx-light
	need java openjdk-17-jdk-headless
	need redis-server redis-server
	need redis-cli redis-tools
	need ssh-keyscan openssh-client
	need chromium-headless-shell chromium-headless-shell
	need certutil libnss3-tools
	[ -x /usr/sbin/mariadbd ] || missing="$missing mariadb-server"
	need mariadb mariadb-client
	need memcached memcached
	need memccat libmemcached-tools
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
	[ -x /usr/sbin/squid ] || missing="$missing squid"
	[ -x /usr/bin/tinyproxy ] || missing="$missing tinyproxy-bin"
	[ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
	need fcgiwrap fcgiwrap
	need setpriv util-linux
	need ip iproute2
	[ -x /usr/lib/git-core/git-http-backend ] || missing="$missing git"
	need wget wget
	need perl perl
	/usr/bin/python3 -c 'import requests' 2>/dev/null || missing="$missing python3-requests"
	/usr/bin/python3 -c 'import grpc' 2>/dev/null || missing="$missing python3-grpcio"
	need protoc protobuf-compiler
	/usr/bin/python3 -c 'import httpx' 2>/dev/null || missing="$missing python3-httpx"
	[ -d /usr/share/nodejs/ws ] || missing="$missing node-ws"
	/usr/bin/python3 -c 'import h11' 2>/dev/null || missing="$missing python3-h11"
	perl -MLWP::Protocol::https -e 1 2>/dev/null || missing="$missing liblwp-protocol-https-perl"
	/usr/bin/python3 -c 'import aiohttp' 2>/dev/null || missing="$missing python3-aiohttp"
	/usr/bin/python3 -c 'import httplib2' 2>/dev/null || missing="$missing python3-httplib2"
	/usr/bin/python3 -c 'import urllib3' 2>/dev/null || missing="$missing python3-urllib3"
	/usr/bin/python3 -c 'import pycurl' 2>/dev/null || missing="$missing python3-pycurl"
	/usr/bin/python3 -c 'import websockets' 2>/dev/null || missing="$missing python3-websockets"
	/usr/bin/python3 -c 'import websocket' 2>/dev/null || missing="$missing python3-websocket"
	need ruby ruby
	need php php-cli
	php -m 2>/dev/null | grep -qx curl || missing="$missing php-curl"
	need http httpie
	need aria2c aria2
	need wget2 wget2
	need dpkg-deb dpkg
	need mvn maven
	need composer composer
	if [ ! -x /usr/bin/cargo ]; then # for every account, and one that knows sparse registries where Debian has it
		if apt-cache show cargo-web >/dev/null 2>&1; then missing="$missing cargo-web"; else missing="$missing cargo"; fi
	fi
	ls -d /usr/share/cargo/registry/ureq-2* >/dev/null 2>&1 || missing="$missing librust-ureq-dev librust-rustls-native-certs-dev"
	ls -d /usr/share/cargo/registry/reqwest-0* >/dev/null 2>&1 || missing="$missing librust-reqwest-dev"
	/usr/bin/python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
fi
if [ "$want" = peers ]; then # squid and tinyproxy are daemons: a machine with systemd starts them
	PATH=$PATH:/usr/sbin
	need squid squid
	need tinyproxy tinyproxy
	need npm npm
	need socat socat
	need rg ripgrep
fi
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
	echo "firma: install these with your package manager:$missing" >&2
	exit 1
fi
sudo=
if [ "$(id -u)" != 0 ]; then
	sudo=sudo
fi
echo "firma: installing$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of package names
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
