#!/usr/bin/env bash
# Each man page renders, without a warning, and says its name and what it is.
# usage: man.sh FOLDER
set -euo pipefail
# shellcheck source=tests/packaging/check.sh
. "$(dirname "$0")/check.sh"

pages=("$1"/*.[1-8])
[ -e "${pages[0]}" ] || wrong "no man pages in $1"
for page in "${pages[@]}"; do
    name=$(basename "$page")
    if ! text=$(MANWIDTH=80 man --warnings --local-file "$page" 2>&1 >/dev/null); then
        wrong "$name does not render"
    fi
    [ -z "$text" ] || wrong "$name renders with warnings: $text"
    lexgrog "$page" >/dev/null || wrong "$name has no NAME line that whatis could show"
done
finish
