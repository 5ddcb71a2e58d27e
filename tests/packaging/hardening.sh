#!/usr/bin/env bash
# What is released is hardened: addresses read-only after loading, all symbols bound at once, no
# executable stack, stack protector, checked string functions, no path of libraries inside.
# usage: hardening.sh BUILD-FOLDER
set -euo pipefail
# shellcheck source=tests/packaging/check.sh
. "$(dirname "$0")/check.sh"

for file in "$1/lib/kms.so" "$1/lib/kms-pkcs11.so" "$1/bin/kms-local"; do
    name=$(basename "$file")
    segments=$(readelf --segments --wide "$file")
    dynamic=$(readelf --dynamic --wide "$file")
    imports=$(nm -D --undefined-only "$file")

    grep -q 'GNU_RELRO' <<<"$segments" || wrong "$name has no RELRO segment"
    grep -q '(FLAGS_1).*NOW' <<<"$dynamic" || wrong "$name binds symbols lazily"
    grep -qE 'GNU_STACK .* RW +0x' <<<"$segments" || wrong "$name may have an executable stack"
    grep -q '__stack_chk_fail' <<<"$imports" || wrong "$name has no stack protector"
    grep -qE ' __[a-z]+_chk(@|$)' <<<"$imports" || wrong "$name has no fortified functions"
    ! grep -qE '\((RPATH|RUNPATH)\)' <<<"$dynamic" || wrong "$name has a path of libraries"
done
readelf --file-header "$1/bin/kms-local" | grep -q 'Type: *DYN' ||
    wrong "kms-local is not position-independent"
finish
