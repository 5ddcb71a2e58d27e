#!/usr/bin/python3
"""Runs Debian's /usr/bin/aws again and again, with its modules loaded once: each call is a fork
that runs that very file. Starting anew each time would take most of the time of the test.

A line on standard input is one call: {"arguments": [...], "environment": {...}}, where the
environment comes on top of this process's own.
A line on standard output is its result: {"status": N, "out": "...", "err": "..."}.
"""

import json
import os
import runpy
import sys
import tempfile

import awscli.clidriver  # noqa: F401  loaded here for the forks

PROGRAM = '/usr/bin/aws'


def run_program(arguments, environment, out, err):
    """The child: never returns."""
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    os.environ.update(environment)
    sys.argv = [PROGRAM, *arguments]
    status = 1
    try:
        runpy.run_path(PROGRAM, run_name='__main__')
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def call(arguments, environment):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            run_program(arguments, environment, out, err)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {'status': status, 'out': out.read().decode(), 'err': err.read().decode()}


for line in sys.stdin:
    print(json.dumps(call(**json.loads(line))), flush=True)
