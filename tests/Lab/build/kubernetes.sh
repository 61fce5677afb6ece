#!/bin/bash
# Builds the Kubernetes programs of the laboratory from Debian's source package (vendored, so nothing else is fetched) into the cache,
# and prints the folder. All static: kube-proxy goes into an image, kubelet into a root of another release.
. "$(dirname "$0")/common.sh"

programs=(kubelet kube-proxy kubectl kube-apiserver kube-controller-manager kube-scheduler kubeadm)
out=$cache/kubernetes-$(key build/kubernetes.sh)
lock kubernetes
if fresh "$out"; then
  work=$(mktemp -d "$cache/kubernetes-build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  chmod 755 "$work" # apt drops its privileges while it downloads
  cd "$work"
  apt-get source -q --only-source "kubernetes/$codename" >&2
  cd kubernetes-*/
  mkdir -p .go/src/k8s.io
  ln -s ../../.. .go/src/k8s.io/kubernetes # the GOPATH layout its Makefile asks for
  version=$(sed -n '1s/.*really\([0-9.]*\)-.*/\1/p' debian/changelog)
  printf '%s\n' "KUBE_GIT_COMMIT=debian" "KUBE_GIT_TREE_STATE=clean" "KUBE_GIT_VERSION=v$version" \
    KUBE_GIT_MAJOR=1 "KUBE_GIT_MINOR=$(cut -d. -f2 <<<"$version")" >version-defs
  HOME=$work GOPATH=$PWD/.go GOCACHE=$work/gocache GOFLAGS=-p=2 CGO_ENABLED=0 KUBE_GIT_VERSION_FILE=$PWD/version-defs \
    nice make GOLDFLAGS="-s -w" WHAT="$(printf 'cmd/%s ' "${programs[@]}")" >&2
  rm -rf "$out.part"
  mkdir "$out.part"
  for program in "${programs[@]}"; do cp "_output/bin/$program" "$out.part/"; done
  keep "$out"
fi
echo "$out"
