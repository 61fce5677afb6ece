# shellcheck shell=bash
# Sourced by every build script: strictness, the cache directory and how an artefact gets into it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lab=$(dirname "$here")
cache=${NODEAGENT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nodeagent}
mkdir -p "$cache"

# Everything the laboratory knows about the archive comes from this machine's own apt sources.
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
archive_uri() {
  # shellcheck disable=SC2016  # apt's format, not the shell's
  apt-get indextargets --no-release-info --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' | awk -v c="$codename" '$1 == c { print $2; exit }'
}

# key FILE... -> a short digest of the contents of files and folders (names count too)
key() {
  (cd "$lab" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c1-12
}

# fresh PATH: true when the artefact must be built. A build writes PATH.part and calls `keep PATH`.
fresh() {
  [ -e "$1" ] || return 0
  touch "$1" # in use: not to be pruned
  return 1
}

# keep PATH: publish PATH.part under its name in one step, and drop what other keys left and nobody used for two days
keep() {
  mv -T "$1.part" "$1"
  touch "$1"
  find "$cache" -maxdepth 1 -name "$(basename "${1%-*}")-????????????*" -mtime +1 -exec rm -rf --one-file-system {} +
}

# One build at a time: a second runner waits and then finds everything in place.
lock() { exec 9>"$cache/$1.lock" && flock 9; }

# pack_image NAME ROOT ENTRYPOINT FILE: one layer, as `docker save` writes it, the same bytes for the same files
pack_image() {
  local dir layer config
  dir=$(mktemp -d "${work:?}/image.XXXXXX") # the caller's
  tar -C "$2" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$dir/layer.tar" .
  layer=$(sha256sum <"$dir/layer.tar" | cut -d' ' -f1)
  printf '{"architecture":"amd64","os":"linux","created":"1970-01-01T00:00:00Z","config":{"Env":["PATH=/usr/sbin:/usr/bin:/bin"],"Entrypoint":["%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$3" "$layer" >"$dir/config.json"
  config=$(sha256sum <"$dir/config.json" | cut -d' ' -f1)
  mv "$dir/config.json" "$dir/$config.json"
  printf '[{"Config":"%s.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$config" "$1" >"$dir/manifest.json"
  tar -C "$dir" --sort=name --mtime=@0 -cf "$4" manifest.json "$config.json" layer.tar
  rm -rf "$dir"
}
