# Compiler and linker flags, in one place: warnings, hardening, sanitizers.

add_compile_options(-Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes
                    -Wvla -Wformat=2 -Wundef)
if(KMS_WERROR)
    add_compile_options(-Werror)
endif()
add_compile_definitions(_GNU_SOURCE OPENSSL_NO_DEPRECATED)

if(KMS_HARDENING)
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
                        -fstack-clash-protection
                        # OpenSSL's error macros keep file names: not those of the build machine.
                        -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
    add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
    if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
        add_compile_options(-fcf-protection)
    endif()
endif()

if(KMS_SANITIZE)
    add_compile_options(-fsanitize=${KMS_SANITIZE} -fno-omit-frame-pointer -g -O1)
    if(KMS_SANITIZE MATCHES "undefined")
        add_compile_options(-fno-sanitize-recover=undefined)
    endif()
    add_link_options(-fsanitize=${KMS_SANITIZE})
endif()

# libFuzzer needs its coverage in the code under test, not only in the fuzzers.
if(KMS_FUZZ)
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()
