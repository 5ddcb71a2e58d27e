# cpack: Debian packages kms-provider and kms-local.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_CONTACT "kms-provider maintainers <maintainers@kms-provider.invalid>")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL provider local)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS ${CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS})
set(CPACK_STRIP_FILES ON)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_PROVIDER_PACKAGE_NAME kms-provider)
set(CPACK_DEBIAN_PROVIDER_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_PROVIDER_PACKAGE_RECOMMENDS "ca-certificates")
set(CPACK_DEBIAN_PROVIDER_PACKAGE_SUGGESTS "openssl, p11-kit, opensc, kms-local")
set(CPACK_DEBIAN_PROVIDER_DESCRIPTION
    "OpenSSL provider and PKCS#11 module that wrap and unwrap data keys and small
secrets with AWS KMS keys. An encryption context and a region of the European
Union are required.")
set(CPACK_DEBIAN_PROVIDER_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/cmake/conffiles)

set(CPACK_DEBIAN_LOCAL_PACKAGE_NAME kms-local)
set(CPACK_DEBIAN_LOCAL_PACKAGE_SECTION devel)
set(CPACK_DEBIAN_LOCAL_DESCRIPTION
    "Local server that speaks the AWS KMS protocol, for tests. It binds
to loopback, checks request signatures as AWS does, and keeps keys in memory or
in a file. Its keys are for development and tests alone.")

include(CPack)
