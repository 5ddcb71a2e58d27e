#!/usr/bin/env bash
# docs/consumers.md tells what the tests run: each configuration in it is the file, each test has its
# row, and the versions are the tested ones.
# usage: document.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

document=docs/consumers.md
failures=0

bad() {
    failures=$((failures + 1))
    printf 'FAILED: %s\n' "$1"
}

# shown FILE: the block below the line that names it.
shown() {
    awk -v mark="<!-- $1 -->" '$0 == mark { below = 1; next }
        below && /^```/ { if (inside) exit; inside = 1; next }
        inside' "$document"
}

for file in conf/openssl.cnf conf/examples/*; do
    diff -u "$file" <(shown "$file") || bad "$document does not show $file as it is"
done

for script in tests/consumers/*.sh; do
    name=$(basename "$script")
    case $name in
    lib.sh | document.sh) continue ;;
    esac
    grep -q "^| .*\`$name\`" "$document" || bad "$name has no row in $document"
    grep -qE "^set\(programs .*\b${name%.sh}\b" tests/consumers/CMakeLists.txt || bad "$name is no test"
done

# Rows of programs: | name | package version | ...
rows=$(sed -n 's/^| [^|]* | \([a-z0-9.+-]* [0-9][0-9.p]*\) | .*/\1/p' "$document")
[ "$(wc -l <<<"$rows")" -ge 12 ] || bad "$document has too few rows"
if grep -q '^VERSION_ID="12"' /etc/os-release; then
    while read -r package version; do
        installed=$(dpkg-query -W -f '${Version}' "$package" | sed 's/^[0-9]*://')
        case $installed in
        "$version"[-+]*) ;;
        *) bad "$package is $installed here, $version in $document" ;;
        esac
    done <<<"$rows"
fi
[ "$failures" -eq 0 ]
