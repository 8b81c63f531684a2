#!/bin/sh
# Lovage as the package installs it: starts the program in lib/lovage beside this file's folder.
set -u
self=$(readlink -f -- "$0") || self=$0
home=${self%/bin/*}/lib/lovage/@MARK@
if [ "${LOVAGE_COPY:-@MARK@}" != @MARK@ ]; then
  echo "Error: Cannot start a process of the running program: $self is another version now; restart the program" >&2
  exit 73
fi
unset LOVAGE_COPY
