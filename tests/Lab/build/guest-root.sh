#!/bin/bash
# The guest's root: base-root plus kubelet, container images baked in, the laboratory's own units and the metadata fake.
# Prints the folder in the cache: root/ (for the container ring), root.ext4, store.ext4, vmlinuz, initrd (for the virtual machine).
. "$(dirname "$0")/common.sh"

base=$("$here/base-root.sh")
kubernetes=$("$here/kubernetes.sh")
imds=$("$here/imds.sh")
out=$cache/guest-$( (cd "$lab" && key build/guest-root.sh guest images; echo "$base $kubernetes $imds") | sha256sum | cut -c1-12)

pause_image() {
  mkdir "$work/pause"
  (cd "$lab/images/pause" && HOME=$work GOCACHE=$work/gocache CGO_ENABLED=0 GO111MODULE=off go build -trimpath -ldflags '-s -w' -o "$work/pause/pause" main.go)
  pack_image registry.k8s.io/pause:3.9 "$work/pause" /pause "$1"
}

# kube-proxy runs iptables and friends: they come from the guest's own packages, with the libraries they link.
kube_proxy_image() {
  local image=$work/kube-proxy library tool
  mkdir -p "$image"/{usr/bin,usr/sbin,usr/lib/x86_64-linux-gnu,usr/lib64,etc,run,tmp,proc,sys}
  ln -s usr/bin usr/sbin usr/lib usr/lib64 "$image/"
  cp "$kubernetes/kube-proxy" "$image/usr/bin/"
  cp "$root/usr/bin/busybox" "$image/usr/bin/sh"
  cp "$root"/usr/sbin/{xtables-nft-multi,conntrack,ipset} "$image/usr/sbin/"
  for tool in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -s xtables-nft-multi "$image/usr/sbin/$tool"
  done
  cp -r "$root/usr/lib/x86_64-linux-gnu/xtables" "$image/usr/lib/x86_64-linux-gnu/"
  # Its extensions are libraries themselves, with libraries of their own: statistic, which shares connections out among endpoints, needs libm.
  for library in $(chroot "$root" sh -c 'ldd /usr/sbin/xtables-nft-multi /usr/sbin/conntrack /usr/sbin/ipset /usr/lib/x86_64-linux-gnu/xtables/*.so' |
    grep -o '=> /[^ ]*\.so[^ ]*\|^[[:space:]]*/lib64/[^ ]*\.so[^ ]*' | grep -o '/[^ ]*' | sort -u); do
    cp -L "$root$library" "$image$library"
  done
  pack_image "registry.k8s.io/kube-proxy:$("$kubernetes/kubelet" --version | cut -d' ' -f2)" "$image" /usr/bin/kube-proxy "$1"
}

# Just enough to find the root disk: a distribution's initrd takes ten seconds under emulation.
initrd() {
  local dir=$work/initrd kernel module number=10
  kernel=$(ls "$root/usr/lib/modules")
  mkdir -p "$dir"/{modules,dev,root,proc}
  cp "$root/usr/bin/busybox" "$dir/"
  while read -r _ module _; do
    xz -dc "$module" >"$dir/modules/$number-$(basename "$module" .ko.xz).ko"
    number=$((number + 1))
  done < <(modprobe -S "$kernel" -d "$root" --show-depends -a virtio_pci virtio_blk ext4 | grep '^insmod' | awk '!seen[$0]++')
  cat >"$dir/init" <<'INIT'
#!/busybox sh
/busybox mount -t devtmpfs dev /dev
for module in /modules/*.ko; do /busybox insmod "$module"; done
until [ -b /dev/vda ]; do /busybox sleep 0.1; done
/busybox mount -t ext4 -o noatime /dev/vda /root || exec /busybox sh
/busybox mount --move /dev /root/dev
exec /busybox switch_root /root /sbin/init
INIT
  chmod +x "$dir/init"
  (cd "$dir" && find . -print0 | LC_ALL=C sort -z | cpio --null --quiet -H newc -o) >"$1"
}

lock guest
if fresh "$out"; then
  work=$(mktemp -d "$cache/guest-build.XXXXXX")
  trap 'rm -rf --one-file-system "$work"' EXIT
  rm -rf --one-file-system "$out.part"
  mkdir "$out.part"
  root=$out.part/root
  cp -a "$base" "$root"

  cp -r --no-preserve=ownership "$lab/guest/." "$root/"
  install -m 755 "$kubernetes/kubelet" "$kubernetes/kubectl" "$root/usr/bin/"
  mkdir -p "$root/usr/lib/lab/imds" "$root/var/lib/lab" "$root/var/lib/nodeagent/images"
  cp -r "$imds/." "$root/usr/lib/lab/imds/"
  echo '{ "paths": {} }' >"$root/var/lib/lab/imds.json"
  rm -f "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" # force-unsafe-io was for the build; a power cut in the guest must find dpkg as it is
  pause_image "$root/var/lib/nodeagent/images/pause.tar"
  kube_proxy_image "$root/var/lib/nodeagent/images/kube-proxy.tar"

  echo ec2000000000000000000000000001ab >"$root/etc/machine-id" # empty would mean "first boot": presets, and kubelet enabled
  systemctl --root="$root" --quiet enable lab-imds lab-disks systemd-networkd
  systemctl --root="$root" --quiet disable kubelet docker.service docker.socket # whoever sets up the node enables what it runs
  systemctl --root="$root" --quiet mask nvmf-autoconnect.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
    systemd-networkd-persistent-storage.service

  cp "$root"/boot/vmlinuz-* "$out.part/vmlinuz"
  initrd "$out.part/initrd"
  mke2fs -q -t ext4 -L root -E lazy_itable_init=0 -d "$root" "$out.part/root.ext4" 10G
  mke2fs -q -t ext4 -L lab-store -E lazy_itable_init=0 "$out.part/store.ext4" 16G
  keep "$out"
fi
echo "$out"
