#!/bin/sh
# Installs Lovage: the program, its manual pages and its completions. No root, and nothing outside of one folder.
#
#   sh install.sh                    the newest version, below ~/.local
#   sh install.sh --uninstall        removes what was installed there
#
#   LOVAGE_INSTALL=/opt/lovage       another folder: the program is its bin/lovage
#   VERSION=0.2.0                    another version
#   LOVAGE_BASE_URL=https://...      another server: a folder with SHA256SUMS and the archives that it names
set -u

base=${LOVAGE_BASE_URL:-"@BASE_URL@"}
prefix=${LOVAGE_INSTALL:-}
version=${VERSION:-}
version=${version#v}

fail() {
  echo "Error: $1" >&2
  exit 1
}

# Fetches URL $1 into file $2.
fetch() {
  if command -v curl >/dev/null 2>&1; then
    curl -fsSL --retry 2 -o "$2" -- "$1" 2>"$work/why" && return
  elif command -v wget >/dev/null 2>&1; then
    wget -q -O "$2" -- "$1" 2>"$work/why" && return
  else
    fail "Cannot fetch anything: install curl or wget"
  fi
  fail "Cannot fetch $1: $(tail -n 1 "$work/why" | grep . || echo "there is no such file, or no such server")"
}

sum() {
  if command -v sha256sum >/dev/null 2>&1; then sha256sum <"$1"
  elif command -v shasum >/dev/null 2>&1; then shasum -a 256 <"$1"
  elif command -v openssl >/dev/null 2>&1; then openssl dgst -sha256 -r <"$1"
  else fail "Cannot check what was fetched: install sha256sum, shasum or openssl"
  fi
}

# The name of this platform's archives.
platform() {
  case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=macos ;;
    *) fail "There is no build for $(uname -s)" ;;
  esac
  case $(uname -m) in
    x86_64 | amd64) arch=x64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) fail "There is no build for $(uname -m) processors" ;;
  esac
  if [ "$os" = linux ]; then
    for libc in /lib/ld-musl-*; do
      [ ! -e "$libc" ] || [ -e /lib64/ld-linux-x86-64.so.2 ] || [ -e /lib/ld-linux-aarch64.so.1 ] ||
        fail "There is no build for musl (Alpine): Lovage needs glibc, as Debian, Ubuntu and Fedora have it"
    done
  fi
  echo "$os-$arch"
}

# The archive of the newest version for platform $1, or of version $2, by the sums in file $3: "SUM NAME".
choose() {
  awk -v platform="$1" -v wanted="$2" '
    function newer(a, b,  x, y, n) {
      split(a, x, /[.-]/); split(b, y, /[.-]/)
      for (n = 1; n <= 3; n++) if (x[n] + 0 != y[n] + 0) return x[n] + 0 > y[n] + 0
      return a !~ /-/ && b ~ /-/
    }
    $2 ~ "^[*]?lovage-.*-" platform "[.]tar[.]gz$" {
      name = $2; sub(/^[*]/, "", name)
      version = substr(name, 8, length(name) - length(platform) - 15)
      if (wanted != "" && version != wanted) next
      if (best == "" || newer(version, best)) { best = version; line = $1 " " name }
    }
    END { print line }
  ' "$3"
}

# The files of an installation, as far as they are there, below the folder.
installed() {
  for file in bin/lovage share/man/man1/lovage.1 share/man/man1/lovage-*.1 share/bash-completion/completions/lovage \
    share/zsh/site-functions/_lovage share/fish/vendor_completions.d/lovage.fish share/doc/lovage/*; do
    [ ! -f "$file" ] || echo "$file"
  done
}

uninstall() {
  [ -d "$prefix" ] && cd -- "$prefix" && [ -e bin/lovage ] || fail "Lovage is not installed in $prefix"
  installed | while read -r file; do rm -f -- "$file" || exit 1; done || fail "Cannot remove all of it from $prefix"
  rmdir share/doc/lovage 2>/dev/null
  echo "Removed Lovage from $prefix. What it unpacked is in ${XDG_CACHE_HOME:-${HOME:-~}/.cache}/lovage"
}

install() {
  case $base in
    "" | @*@) fail "Set LOVAGE_BASE_URL to the folder that the releases can be had from" ;;
  esac
  # GitHub has a folder for each version, and one that leads to the newest.
  [ -z "$version" ] || case $base in
    */releases/latest/download) base=${base%latest/download}download/v$version ;;
  esac
  base=${base%/}
  platform=$(platform) || exit 1
  work=$(mktemp -d) || fail "Cannot make a temporary folder"
  trap 'rm -rf -- "$work"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  fetch "$base/SHA256SUMS" "$work/SHA256SUMS"
  chosen=$(choose "$platform" "$version" "$work/SHA256SUMS")
  [ -n "$chosen" ] || fail "$base has no ${version:+version $version }for $platform"
  archive=${chosen#* }
  name=${archive%.tar.gz}
  echo "Fetching $base/$archive"
  fetch "$base/$archive" "$work/$archive"
  found=$(sum "$work/$archive")
  [ "${found%% *}" = "${chosen%% *}" ] ||
    fail "The sum of $archive is ${found%% *}, but SHA256SUMS says ${chosen%% *}: nothing was installed"
  tar -xzf "$work/$archive" -C "$work" || fail "Cannot unpack $archive: install tar and gzip"
  mkdir -p -- "$prefix/bin" 2>/dev/null && [ -w "$prefix/bin" ] ||
    fail "Cannot write to $prefix/bin: set LOVAGE_INSTALL to a folder of your own"
  (cd -- "$work/$name" && find bin share -type f) | while read -r file; do
    mkdir -p -- "$prefix/${file%/*}" || exit 1
    # In one step: a program that runs goes on with the file that it was started from.
    cp -- "$work/$name/$file" "$prefix/$file.new" && mv -f -- "$prefix/$file.new" "$prefix/$file" || exit 1
  done || fail "Cannot write to $prefix: set LOVAGE_INSTALL to a folder of your own"
  said=$("$prefix/bin/lovage" --version) || fail "$prefix/bin/lovage does not start"
  echo "Installed $said as $prefix/bin/lovage, with manual pages and completions in $prefix/share"
  case :$PATH: in
    *":$prefix/bin:"*) ;;
    *) echo "To find it, add this to your shell's profile:  export PATH=\"$prefix/bin:\$PATH\"" ;;
  esac
}

[ -n "$prefix" ] || { [ -n "${HOME:-}" ] || fail "HOME is not set: set LOVAGE_INSTALL to a folder"; prefix=$HOME/.local; }
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
case ${1:-} in
  "") install ;;
  --uninstall) uninstall ;;
  *) fail "Unknown option $1: there is --uninstall" ;;
esac
