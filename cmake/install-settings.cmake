# Installs the settings: to /etc where the prefix is the system's, else to PREFIX/etc. A file that
# is there already is somebody's work and stays.
if(CMAKE_INSTALL_PREFIX MATCHES "^/usr/*$")
    set(folder /etc/kms-provider)
else()
    set(folder ${CMAKE_INSTALL_PREFIX}/etc/kms-provider)
endif()
foreach(name kms.conf openssl.cnf)
    if(EXISTS "$ENV{DESTDIR}${folder}/${name}")
        message(STATUS "Kept: $ENV{DESTDIR}${folder}/${name}")
    else()
        file(INSTALL DESTINATION ${folder} TYPE FILE FILES ${kms_conf_dir}/${name})
    endif()
endforeach()
