/* The end of a process, in every order of the handlers: no crash, no hang, no leak. */
#include "tests/pkcs11/token.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void run(const char *mode)
{
    const char *const arguments[] = {EXIT_PROBE, mode, NULL};
    int status = 0;
    pid_t pid;

    assert_int_equal(
        posix_spawn(&pid, EXIT_PROBE, NULL, NULL, (char *const *)(uintptr_t)arguments, environ), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status))
        fail_msg("%s: signal %d", mode, WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define ENDS(name, mode)                                                                           \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run(mode);                                                                                 \
    }

ENDS(a_program_may_end_without_finalising, "none")
ENDS(a_program_may_end_without_handlers, "quick")
ENDS(a_handler_that_runs_before_openssls_may_finalise, "late-handler")
ENDS(a_handler_that_runs_after_openssls_may_finalise, "early-handler")
ENDS(a_destructor_may_finalise, "destructor")
ENDS(after_openssls_cleanup_all_functions_refuse_but_finalise, "cleanup")
ENDS(a_child_may_end_while_the_parent_goes_on, "child")

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_may_end_without_finalising),
        cmocka_unit_test(a_program_may_end_without_handlers),
        cmocka_unit_test(a_handler_that_runs_before_openssls_may_finalise),
        cmocka_unit_test(a_handler_that_runs_after_openssls_may_finalise),
        cmocka_unit_test(a_destructor_may_finalise),
        cmocka_unit_test(after_openssls_cleanup_all_functions_refuse_but_finalise),
        cmocka_unit_test(a_child_may_end_while_the_parent_goes_on),
    };

    return cmocka_run_group_tests(tests, token_set_up_tls, token_tear_down_tls);
}
