#!/bin/sh
# Lovage as one file: this script, then a tar archive of the runtime and the program. The first start unpacks it into a
# cache folder named after its content; every start runs it from there.
#
# Only a copy that nobody else can have made or changed is run: it, its files and every folder above it belong to this
# user or to root, and nobody else may write there. A folder with the sticky bit, such as /tmp, may be writable by
# all: what is directly in it must belong to this user or to root. A copy with missing or shortened files is repaired.
# All of that takes one call of `stat` per start.
set -u
mark=@MARK@
names="@NAMES@"
sizes="@SIZES@"
offset="@OFFSET@"

# Checks folder $1, which should contain the files $2 with the sizes $3. Sets `state`: ready (if no files were given:
# safe), incomplete, missing or unsafe (`reason` says why); `home`: the folder's path without links; `uid`: our user;
# `age`: seconds since the folder was last modified.
look() {
  state=missing reason="cannot be entered" home=$1
  # The mode (hexadecimal), owner, size and time of this process, of each folder from the root down, and of each file.
  facts=$(
    cd -P -- "$1" 2>/dev/null || exit
    printf '%s//' "${PWD%/}"
    folder=$PWD files=$2
    set --
    while [ -n "${folder#/}" ]; do set -- "$folder" "$@"; folder=${folder%/*}; done
    exec stat -c '%f %u %s %Y' -- /proc/self/. / "$@" $files 2>/dev/null
  )
  [ -n "$facts" ] || return 0
  home=${facts%%//*} expected=$3
  set -- ${facts#*//}
  [ $# -ge 8 ] || { state=unsafe reason="cannot be looked at with stat"; return 0; }
  uid=$2 age=$4
  shift 4
  state=unsafe reason="belongs to another user, or a folder above it does"
  # If the root folder belongs to another user (a user namespace shows all unknown users as one), that user controls the
  # machine and may own the folders above, but nothing that is in a sticky folder, and not the copy.
  ruler=$2 sticky=0
  while [ $# -gt 0 ]; do
    case $1 in 4*) ;; *) break ;; esac
    owner=$2 time=$4
    [ "$owner" = "$uid" ] || [ "$owner" = 0 ] || { [ "$owner" = "$ruler" ] && [ $sticky = 0 ]; } || return 0
    sticky=0
    if [ $((0x$1 & 0x12)) != 0 ]; then
      sticky=$((0x$1 & 0x200))
      [ $sticky != 0 ] || { reason="can be written by others, or a folder above it can"; return 0; }
    fi
    shift 4
  done
  age=$((age - time))
  [ -n "$expected" ] || { state=safe; return 0; }
  [ "$owner" = "$uid" ] || [ "$owner" = 0 ] || return 0
  [ $sticky = 0 ] || { reason="can be written by others"; return 0; }
  state=incomplete
  for size in $expected; do
    [ $# -gt 0 ] && [ "$3" = "$size" ] && [ $((0x$1 & 0xf012)) = 32768 ] || return 0
    [ "$2" = "$uid" ] || [ "$2" = 0 ] || return 0
    shift 4
  done
  state=ready
}

# Unpacks into "$base/lovage", or fails and sets `reason`.
unpack() {
  copy=$base/lovage/$mark
  near=$base/lovage
  until [ -d "$near/" ]; do near=${near%/*}; done
  look "$near/" "" ""
  [ $state = safe ] || return 1
  mkdir -p -- "$base/lovage" 2>/dev/null || { reason="cannot be made"; return 1; }
  look "$base/lovage" "" ""
  [ $state = safe ] || return 1
  new=$(mktemp -d "$home/$mark.XXXXXX" 2>/dev/null) || { reason="cannot be written"; return 1; }
  trap 'rm -rf -- "$new"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # In a process whose current folder is the new one: that shows `tidy` of another start that it is in use.
  reason=$(
    cd -- "$new" || exit
    { echo '#!/bin/sh' >deno && chmod 700 deno && ./deno; } 2>/dev/null || { echo "does not let programs run"; exit; }
    rm deno
    tail -c "+${offset%% *}" -- "$self" | tar -xzmf - 2>&1 || exit
    # Another start may have been faster, or the copy needs repair: then each file is replaced in one step.
    mv -T -- "$new" "$copy" 2>/dev/null || mv -f -- "$new"/* "$copy" 2>&1
  )
  rm -rf -- "$new"
  trap - EXIT HUP INT TERM
  look "$copy" "$names" "$sizes"
  [ $state != ready ] || { unpacked=1; return 0; }
  # On one line, whatever the commands printed.
  set -f
  reason=$(echo cannot be filled: $reason)
  set +f
  return 1
}

# Removes what older versions and interrupted starts have left beside the copy: only our own, and nothing that is in use
# or was used in the last hour.
tidy() {
  h="[0-9a-f][0-9a-f][0-9a-f][0-9a-f]" used=
  for old in "${home%/*}"/*; do
    case ${old##*/} in
      "$mark") continue ;;
      $h$h$h$h) [ -n "$(find "$old" -prune -mmin +60 2>/dev/null)" ] || continue ;;
      $h$h$h$h.??????) ;;
      *) continue ;;
    esac
    [ -d "$old" ] && [ ! -L "$old" ] && [ -O "$old" ] || continue
    used=${used:-$(readlink /proc/[0-9]*/exe /proc/[0-9]*/cwd 2>/dev/null)}
    case $used in *"$old"*) ;; *) rm -rf -- "$old" 2>/dev/null ;; esac
  done
}

self=$(readlink -f -- "$0") || self=$0
if [ "${LOVAGE_COPY:-$mark}" != $mark ]; then
  echo "Error: Cannot start a process of the running program: $self is another version now; restart the program" >&2
  exit 73
fi
unset LOVAGE_COPY
mask=$(umask)
umask 077
state= own= tried= cache= unpacked=
[ ! -d "${HOME:-}" ] || cache=$HOME/.cache
# In order of preference. Folders shared by all users come last; in them, this user has a folder of their own.
for base in "${LOVAGE_CACHE:-}" "${XDG_CACHE_HOME:-}" "$cache" SHARED "${TMPDIR:-/tmp}" /var/tmp; do
  case $base in
    "") continue ;;
    SHARED) own=/lovage-$(id -u); continue ;;
    /*) ;;
    *) base=$PWD/$base ;;
  esac
  [ -z "$own" ] || base=$base$own
  home=$base/lovage/@MARK@
  look "$home" "$names" "$sizes"
  [ $state = unsafe ] || [ $state = ready ] || unpack
  [ $state != ready ] || break
  tried="$tried \"$base/lovage\" $reason;"
done
if [ $state != ready ]; then
  echo "Error: Cannot unpack the program:$tried name a folder of your own in LOVAGE_CACHE" >&2
  exit 73
fi
umask "$mask"
# After unpacking, and at most every 15 minutes: programs that clean up temporary folders decide by the times of files,
# as does `tidy`.
if [ -n "$unpacked" ] || { [ $age -ge 900 ] && [ -O "$home" ]; }; then
  tidy
  touch -c -- "$home" "$home"/* 2>/dev/null
fi
# The runtime's compile cache is code as well: do not put it into a home folder that is missing or not ours.
[ -z "$own" ] || [ -n "${DENO_DIR:-}" ] || { DENO_DIR=${home%/lovage/*}/deno; export DENO_DIR; }
#@@START@@
# A project's own dependencies: the configuration that the program made from them when it last loaded a module from
# there (lib/platform/project.ts). The program checks whether it is still valid, and would start again with it.
config=${LOVAGE_CONFIG:-$home/deno.json}
unset LOVAGE_CONFIG
if [ -d "$home/projects" ] && [ "$config" = "$home/deno.json" ]; then
  app=${CELERY_APP:-${APP:-}} before=
  for word; do
    case $before in -A | --app) app=$word ;; esac
    case $word in -A?*) app=${word#-A} ;; --app=*) app=${word#--app=} ;; esac
    before=$word
  done
  case $app in /*) ;; *) app=$PWD/$app ;; esac
  [ -d "$app" ] || app=${app%/*}
  [ ! -f "$home/projects$app/deno.json" ] || config=$home/projects$app/deno.json
fi
set -- "$home/main.js" "$@"
[ "$config" = "$home/deno.json" ] || { set -- --import-map "$config.imports" "$@"; LOVAGE_PROJECT=1; export LOVAGE_PROJECT; }
# The runtime's own telemetry stays off, as in programs built by `deno compile`: the program does its own tracing.
unset OTEL_DENO
LOVAGE_SELF=$self
DENO_NO_UPDATE_CHECK=1
export LOVAGE_SELF DENO_NO_UPDATE_CHECK
exec "$home/deno" run -A --quiet --no-prompt @V8_FLAGS@ --config "$config" "$@"
#@@PAYLOAD@@
