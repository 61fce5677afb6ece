#!/bin/bash
# A root for moto_server (the AWS fake), which Debian has in trixie only. Run in a chroot. Prints the folder in the cache.
. "$(dirname "$0")/common.sh"

packages=(python3-moto python3-flask python3-flask-cors python3-joserfc python3-docker python3-graphql-core python3-yaml
  python3-xmltodict python3-jsonschema python3-setuptools)

out=$cache/moto-root-$(key build/moto-root.sh)
lock moto-root
if fresh "$out"; then
  rm -rf --one-file-system "$out.part"
  nice mmdebstrap --quiet --mode=root --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt=force-unsafe-io \
    trixie "$out.part" "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(archive_uri) trixie main" >&2
  keep "$out"
fi
echo "$out"
