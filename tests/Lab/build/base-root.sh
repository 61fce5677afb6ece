#!/bin/bash
# Debian trixie, as a machine image would start from: kernel, systemd, container runtime, the tools a node uses. Prints the folder in the cache.
. "$(dirname "$0")/common.sh"

packages=(
  linux-image-cloud-amd64 systemd-sysv systemd-resolved systemd-timesyncd udev dbus kmod procps iproute2 iputils-ping curl ca-certificates qemu-guest-agent busybox-static
  lvm2 mdadm xfsprogs e2fsprogs fdisk nvme-cli
  containerd runc docker.io docker-cli containernetworking-plugins iptables nftables conntrack ipset ipvsadm ethtool socat
  libssl3t64 libstdc++6 zlib1g # what a self-contained .NET program links
)

out=$cache/base-root-$(key build/base-root.sh)
lock base-root
if fresh "$out"; then
  uri=$(archive_uri)
  rm -rf --one-file-system "$out.part"
  nice mmdebstrap --mode=root --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt=force-unsafe-io \
    trixie "$out.part" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >&2
  # The source line is for this build alone: nothing in the guest may reach an archive.
  rm -f "$out.part"/boot/initrd.img-* "$out.part"/etc/apt/sources.list "$out.part"/etc/apt/sources.list.d/* "$out.part"/etc/apt/apt.conf.d/*proxy*
  keep "$out"
fi
echo "$out"
