# shellcheck shell=bash
# What the packaging tests share.
export LC_ALL=C.UTF-8
failures=0

wrong() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    failures=$((failures + 1))
}

# same_lines WHAT EXPECTED FOUND: compares two texts and shows how they differ.
same_lines() {
    local difference
    difference=$(diff <(printf '%s\n' "$2") <(printf '%s\n' "$3")) ||
        wrong "$1 (< expected, > found):"$'\n'"$difference"
}

finish() {
    [ "$failures" -eq 0 ]
    exit
}
