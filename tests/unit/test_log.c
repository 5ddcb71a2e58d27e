#include "tests/unit/settings.h"

#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#define THREADS 8
#define LINES   200

static const kms_error example = {.status = KMS_E_NOT_FOUND, .detail = "alias/app"};
static const char *const example_line =
    "kms: C_Sign: key not found: alias/app; check alias or key id, account and region\n";

/* Runs kms_log_error with standard error going to a pipe, and gives what came out. */
static void capture(const kms_config *config, const kms_error *err, char *text, size_t size)
{
    int saved = dup(STDERR_FILENO), ends[2];
    ssize_t got;

    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    kms_log_error(config, "C_Sign", err);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(ends[1]);
    close(saved);
    got = read(ends[0], text, size - 1);
    text[got > 0 ? got : 0] = '\0';
    close(ends[0]);
}

static void a_line_goes_to_standard_error(void **state)
{
    kms_config *config = config_from("");
    char text[2048];

    (void)state;
    capture(config, &example, text, sizeof(text));
    assert_string_equal(text, example_line);
    kms_config_free(config);
}

static void off_and_syslog_write_nothing_there(void **state)
{
    static const char *const settings[] = {"log = off\n", "log = syslog\n"};
    char text[2048];

    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        kms_config *config = config_from(settings[i]);
        capture(config, &example, text, sizeof(text));
        assert_string_equal(text, "");
        kms_config_free(config);
    }
}

static void without_a_configuration_the_variable_counts(void **state)
{
    char text[2048];

    (void)state;
    capture(NULL, &example, text, sizeof(text));
    assert_string_equal(text, example_line);
    setenv("KMS_PROVIDER_LOG", "off", 1);
    capture(NULL, &example, text, sizeof(text));
    assert_string_equal(text, "");
    setenv("KMS_PROVIDER_LOG", "relative", 1); /* the error must not vanish */
    capture(NULL, &example, text, sizeof(text));
    assert_string_equal(text, example_line);
    unsetenv("KMS_PROVIDER_LOG");
}

static void control_characters_become_blanks(void **state)
{
    const kms_error err = {.status = KMS_E_NOT_FOUND,
                           .detail = "a\nb\x1b[2Jc\td\x7f"
                                     "e\xc2\x9b"
                                     "f \xc3\xa4"};
    char text[2048];

    (void)state;
    capture(NULL, &err, text, sizeof(text));
    assert_non_null(strstr(text, "key not found: a b [2Jc d e  f \xc3\xa4; "));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void the_longest_message_is_one_whole_line(void **state)
{
    kms_error err = {.status = KMS_E_CONTEXT_MISSING};
    char text[2048];

    (void)state;
    memset(err.detail, 'd', sizeof(err.detail) - 1);
    memset(err.exception, 'x', sizeof(err.exception) - 1);
    memset(err.request_id, 'r', sizeof(err.request_id) - 1);
    capture(NULL, &err, text, sizeof(text));
    assert_string_equal(text + strlen(text) - 3, "r)\n");
}

/* A configuration that logs to a new file, whose path comes back in path. */
static kms_config *config_with_file(char *path)
{
    char settings[PATH_SIZE + 16];

    make_file("", 0, path);
    unlink(path);
    snprintf(settings, sizeof(settings), "log = %s\n", path);
    return config_from(settings);
}

static void a_file_is_made_for_its_owner_and_appended_to(void **state)
{
    char path[PATH_SIZE], expected[512];
    kms_config *config = config_with_file(path);
    struct stat info;
    char *text;

    (void)state;
    kms_log_error(config, "C_Sign", &example);
    kms_log_error(config, "C_Sign", &example);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 077, 0);
    text = read_source(path);
    snprintf(expected, sizeof(expected), "%s%s", example_line, example_line);
    assert_string_equal(text, expected);
    free(text);
    unlink(path);
    kms_config_free(config);
}

static void a_symbolic_link_is_not_followed(void **state)
{
    char folder[] = "/tmp/kms-log-XXXXXX", link_path[64], victim[64], setting[128];
    struct stat info;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(victim, sizeof(victim), "%s/victim", folder);
    snprintf(link_path, sizeof(link_path), "%s/log", folder);
    snprintf(setting, sizeof(setting), "log = %s\n", link_path);
    close(open(victim, O_WRONLY | O_CREAT, 0600));
    assert_int_equal(symlink(victim, link_path), 0);
    kms_config *config = config_from(setting);
    kms_log_error(config, "C_Sign", &example);
    assert_int_equal(stat(victim, &info), 0);
    assert_int_equal(info.st_size, 0);
    kms_config_free(config);
    unlink(link_path);
    unlink(victim);
    rmdir(folder);
}

static void *write_lines(void *config)
{
    for (int i = 0; i < LINES; i++)
        kms_log_error(config, "C_Sign", &example);
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    char path[PATH_SIZE];
    kms_config *config = config_with_file(path);
    pthread_t threads[THREADS];
    size_t len = strlen(example_line), lines = 0;
    char *text;

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, config), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    text = read_source(path);
    for (const char *at = text; *at != '\0'; at += len, lines++)
        assert_memory_equal(at, example_line, len);
    assert_int_equal(lines, THREADS * LINES);
    free(text);
    unlink(path);
    kms_config_free(config);
}

static void failure_to_write_is_ignored(void **state)
{
    kms_config *config = config_from("log = /nonexistent/kms.log\n");

    (void)state;
    errno = EDOM;
    kms_log_error(config, "C_Sign", &example);
    assert_int_equal(errno, EDOM);
    kms_config_free(config);
}

static void a_closed_pipe_does_not_kill_the_process(void **state)
{
    int saved = dup(STDERR_FILENO), ends[2];
    sigset_t pending;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    close(ends[0]);
    close(ends[1]);
    kms_log_error(NULL, "C_Sign", &example); /* SIGPIPE has its default action here */
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_goes_to_standard_error),
        cmocka_unit_test(off_and_syslog_write_nothing_there),
        cmocka_unit_test(without_a_configuration_the_variable_counts),
        cmocka_unit_test(control_characters_become_blanks),
        cmocka_unit_test(the_longest_message_is_one_whole_line),
        cmocka_unit_test(a_file_is_made_for_its_owner_and_appended_to),
        cmocka_unit_test(a_symbolic_link_is_not_followed),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(failure_to_write_is_ignored),
        cmocka_unit_test(a_closed_pipe_does_not_kill_the_process),
    };
    clear_environment();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
