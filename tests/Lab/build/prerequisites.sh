#!/bin/bash
# Installs what the laboratory needs on a Debian 12 host. Does nothing, quickly, when everything is there.
. "$(dirname "$0")/common.sh"

packages=(mmdebstrap etcd-server systemd-container e2fsprogs qemu-utils openssl golang-go dpkg-dev make
  debian-archive-keyring kmod cpio iproute2 netcat-openbsd shellcheck)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
# QEMU 7.2 crashes the 6.12 kernel of the guest under TCG; 10 does not.
qemu=$(dpkg-query -W -f '${Version}' qemu-system-x86 2>/dev/null || true)
sources=/etc/apt/sources.list.d/nodeagent-lab.sources
if [ ${#missing[@]} -eq 0 ] && [ -e "$sources" ] && dpkg --compare-versions "${qemu:-0}" ge 1:10; then
  exit 0
fi

[ "$(id -u)" = 0 ] || { echo "prerequisites: run as root once; missing: ${missing[*]} qemu-system-x86>=10" >&2; exit 1; }
uri=$(archive_uri)
[ -n "$uri" ] || { echo "prerequisites: no apt source for '$codename' found in /etc/apt" >&2; exit 1; }
cat >"$sources" <<EOF
Types: deb
URIs: $uri
Suites: $codename-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: $uri
Suites: $codename
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -qy --no-install-recommends "${packages[@]}"
apt-get install -qy --no-install-recommends -t "$codename-backports" qemu-system-x86
# Debian's etcd-server package starts a service where an init is running; the laboratory starts its own.
if command -v systemctl >/dev/null && systemctl is-active -q etcd 2>/dev/null; then systemctl disable --now etcd; fi
