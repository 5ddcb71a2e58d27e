#!/usr/bin/env bash
# The modules export their entry points and nothing else, and load without p11-kit.
# usage: exports.sh LIBRARY-FOLDER
set -euo pipefail
# shellcheck source=tests/packaging/check.sh
. "$(dirname "$0")/check.sh"

exports() {
    nm -D --defined-only "$1" | awk '{ print $3 }' | sort
}

same_lines "exports of kms.so" OSSL_provider_init "$(exports "$1/kms.so")"
same_lines "exports of kms-pkcs11.so" \
    $'C_GetFunctionList\nC_GetInterface\nC_GetInterfaceList' "$(exports "$1/kms-pkcs11.so")"

for module in kms.so kms-pkcs11.so; do
    needed=$(readelf --dynamic --wide "$1/$module" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    [[ $needed == *libcrypto.so.3* ]] || wrong "$module does not need libcrypto: is this readelf?"
    [[ $needed != *p11-kit* ]] || wrong "$module needs p11-kit"
done
finish
