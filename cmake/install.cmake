# Where things are installed. Modules go where their loaders look: OpenSSL's and p11-kit's own
# folders, taken from pkg-config relative to the prefix of each, so that the usual prefix hits
# exactly those folders and any other prefix, DESTDIR included, repeats their layout.
# Component `provider`: both modules with all that belongs to them. Component `local`: kms-local.
include(GNUInstallDirs)

# place NAME DOCUMENTATION MODULE VARIABLE: a cache variable that holds the folder.
function(place name documentation module variable)
    pkg_get_variable(folder ${module} ${variable})
    pkg_get_variable(prefix ${module} prefix)
    if(NOT folder)
        message(FATAL_ERROR "pkg-config ${module} has no ${variable}: set ${name}")
    endif()
    cmake_path(IS_PREFIX prefix "${folder}" NORMALIZE inside)
    if(inside)
        cmake_path(RELATIVE_PATH folder BASE_DIRECTORY "${prefix}")
    endif()
    set(${name} "${folder}" CACHE STRING "${documentation}")
endfunction()

place(KMS_OPENSSL_MODULE_DIR "Folder of kms.so" libcrypto modulesdir)
place(KMS_PKCS11_MODULE_DIR "Folder of kms-pkcs11.so" p11-kit-1 p11_module_path)
place(KMS_P11KIT_CONFIG_DIR "Folder of p11-kit's module files" p11-kit-1 p11_module_configs)

set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

install(TARGETS kms-openssl LIBRARY DESTINATION ${KMS_OPENSSL_MODULE_DIR} COMPONENT provider)
install(TARGETS kms-pkcs11 LIBRARY DESTINATION ${KMS_PKCS11_MODULE_DIR} COMPONENT provider)
install(TARGETS kms-local RUNTIME COMPONENT local)
install(FILES conf/kms-pkcs11.module DESTINATION ${KMS_P11KIT_CONFIG_DIR} COMPONENT provider)
install(DIRECTORY include/kms TYPE INCLUDE COMPONENT provider FILES_MATCHING PATTERN "*.h")
install(FILES README.md CHANGELOG.md LICENSE docs/errors.md TYPE DOC COMPONENT provider)

file(GLOB man_pages CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/*.[1-8])
foreach(page ${man_pages})
    cmake_path(GET page EXTENSION LAST_ONLY section)
    string(SUBSTRING ${section} 1 1 section)
    cmake_path(GET page STEM LAST_ONLY name)
    set(component provider)
    if(name STREQUAL "kms-local")
        set(component local)
    endif()
    install(FILES ${page} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section} COMPONENT ${component})
endforeach()

# Only at install time is the prefix known for which /etc may stand.
install(CODE "set(kms_conf_dir \"${CMAKE_SOURCE_DIR}/conf\")" COMPONENT provider)
install(SCRIPT cmake/install-settings.cmake COMPONENT provider)
