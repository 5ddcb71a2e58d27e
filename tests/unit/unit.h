/* cmocka with what it needs before it, in one place. */
#ifndef KMS_TESTS_UNIT_H
#define KMS_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#endif
