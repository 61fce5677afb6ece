#!/bin/bash
# What a control plane runs, and a pod to try it with, as image archives beside those of every guest. Prints the folder in the cache.
. "$(dirname "$0")/common.sh"

kubernetes=$("$here/kubernetes.sh")
# shellcheck disable=SC2312  # a missing etcd is found below
out=$cache/cluster-images-$( (cd "$lab" && key build/cluster-images.sh images/web; echo "$kubernetes"; sha256sum /usr/bin/etcd) | sha256sum | cut -c1-12)

lock cluster-images
if fresh "$out"; then
  work=$(mktemp -d "$cache/cluster-images-build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  rm -rf "$out.part"
  mkdir "$out.part"
  version=$("$kubernetes/kubelet" --version | cut -d' ' -f2)
  for program in kube-apiserver kube-controller-manager kube-scheduler; do
    mkdir -p "$work/$program/usr/bin"
    cp "$kubernetes/$program" "$work/$program/usr/bin/"
    pack_image "registry.k8s.io/$program:$version" "$work/$program" "/usr/bin/$program" "$out.part/$program.tar"
  done

  # Debian's own, under the tag that this Kubernetes goes with.
  mkdir -p "$work"/etcd/{usr/bin,lib64}
  cp /usr/bin/etcd "$work/etcd/usr/bin/"
  for library in $(ldd /usr/bin/etcd | grep -o '/[^ ]*\.so[^ ]*' | sort -u); do
    mkdir -p "$work/etcd$(dirname "$library")"
    cp -L "$library" "$work/etcd$library"
  done
  pack_image registry.k8s.io/etcd:3.4.13-0 "$work/etcd" /usr/bin/etcd "$out.part/etcd.tar"

  mkdir "$work/web"
  (cd "$lab/images/web" && HOME=$work GOCACHE=$work/gocache CGO_ENABLED=0 GO111MODULE=off go build -trimpath -ldflags '-s -w' -o "$work/web/web" main.go)
  pack_image lab.example/web:1 "$work/web" /web "$out.part/web.tar"
  keep "$out"
fi
echo "$out"
