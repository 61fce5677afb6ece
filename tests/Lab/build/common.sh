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
