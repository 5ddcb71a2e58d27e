#!/usr/bin/env bash
# The README's commands work: all its blocks marked `sh`, in order, in one shell, from a clean state.
# usage: readme.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck disable=SC2016 # backquotes of Markdown
commands=$(sed -n '/^```sh$/,/^```$/ { /^```/!p }' README.md)
[ "$(grep -c pkeyutl <<<"$commands")" -ge 3 ] || { echo "readme.sh: the blocks are not found" >&2; exit 1; }

trap './infra/quickstart.sh --stop >/dev/null' EXIT
if ! output=$(bash -eu -o pipefail -x -c "$commands" 2>&1 </dev/null); then
    printf '%s\n' "$output" | tail -n 40
    echo "readme.sh: a command of README.md failed (the last one above)" >&2
    exit 1
fi
