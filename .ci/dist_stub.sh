#!/bin/sh
# Lovage, packed: this stub, then a tar archive of the runtime and the program. The first start unpacks it into a
# cache folder named by its content; every start runs it from there.
set -u
self=$(readlink -f -- "$0") || self=$0
for base in "${LOVAGE_CACHE:-}" "${XDG_CACHE_HOME:-}" "${HOME:+$HOME/.cache}" "${TMPDIR:-/tmp}/lovage-$(id -u)"; do
  [ -n "$base" ] || continue
  home=$base/lovage/@MARK@
  [ -x "$home/deno" ] && break
  mkdir -p "$base/lovage" 2>/dev/null && [ -w "$base/lovage" ] && break
done
if [ ! -x "$home/deno" ]; then
  mask=$(umask)
  umask 077
  new=$(mktemp -d "$home.XXXXXX") || { echo "lovage: cannot unpack into $base/lovage: set LOVAGE_CACHE to a folder" >&2; exit 73; }
  trap 'rm -rf "$new"' EXIT
  trap 'exit 130' INT TERM
  if ! { sed '1,/^#@@PAYLOAD@@$/d' "$self" | tar -xzf - -C "$new"; }; then
    echo "lovage: cannot unpack into $new (disk full?)" >&2
    exit 73
  fi
  # Another start may have been faster: then its copy serves.
  mv -T "$new" "$home" 2>/dev/null || [ -x "$home/deno" ] || { echo "lovage: cannot write $home" >&2; exit 73; }
  rm -rf "$new"
  trap - EXIT INT TERM
  umask "$mask"
fi
LOVAGE_SELF=$self
DENO_NO_UPDATE_CHECK=1
export LOVAGE_SELF DENO_NO_UPDATE_CHECK
exec "$home/deno" run -A --quiet --no-prompt @V8_FLAGS@ --config "$home/deno.json" "$home/main.js" "$@"
#@@PAYLOAD@@
