#!/bin/bash
# Publishes the instance metadata fake (tests/Imds) for the guest. Prints the folder in the cache.
. "$(dirname "$0")/common.sh"

out=$cache/imds-$(cd "$lab" && key build/imds.sh ../Imds/*.cs ../Imds/*.csproj)
lock imds
if fresh "$out"; then
  work=$(mktemp -d "$cache/imds-build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  rm -rf "$out.part"
  # Its own intermediate files and lock file: the working tree is left as it is.
  nice dotnet publish "$lab/../Imds" -c Release -r linux-x64 --self-contained -p:PublishReadyToRun=true -p:DebugType=none \
    --artifacts-path "$work" -p:NuGetLockFilePath="$work/packages.lock.json" -p:RestoreLockedMode=false -o "$out.part" >&2
  keep "$out"
fi
echo "$out"
