"""Verified TLS handshakes with a server, several at a time: each is new, none is resumed.

Prints how many there were. Ends with 1 if one failed, and says why.
"""

import argparse
import os
import socket
import ssl
import struct
import sys
import threading

WAIT = 30


class Work:
    """What is left to do, shared by the threads."""

    def __init__(self, count, until):
        self.lock = threading.Lock()
        self.left = count
        self.until = until
        self.done = 0
        self.errors = []

    def take(self):
        with self.lock:
            if self.left == 0 or len(self.errors) > 9:
                return False
            self.left -= 1
        return self.until is None or not os.path.exists(self.until)

    def note(self, error=None):
        with self.lock:
            if error is None:
                self.done += 1
            else:
                self.errors.append(error)


def handshake(context, options):
    with socket.create_connection((options.address, options.port), WAIT) as plain:
        if options.postgresql:
            plain.sendall(struct.pack("!II", 8, 80877103))  # SSLRequest
            if plain.recv(1) != b"S":
                raise OSError("the server has no TLS")
        with context.wrap_socket(plain, server_hostname=options.host) as tls:
            if tls.session_reused:
                raise ssl.SSLError("the session was resumed")
            if not options.get:
                return
            tls.sendall(f"GET / HTTP/1.0\r\nHost: {options.host}\r\n\r\n".encode())
            answer = tls.recv(64)
            while answer and len(answer) < 12:
                answer += tls.recv(64)
            if answer[9:12] != b"200":
                raise OSError(f"the answer is {answer!r}")


def run(work, context, options):
    while work.take():
        try:
            handshake(context, options)
            work.note()
        except OSError as error:  # ssl.SSLError is one
            work.note(f"{type(error).__name__}: {error}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--get", action="store_true", help="ask for a page each time")
    parser.add_argument("--postgresql", action="store_true", help="ask for TLS as psql does")
    parser.add_argument("--until", help="stop when this file is there")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("host")
    options = parser.parse_args()

    context = ssl.create_default_context(cafile=options.ca)
    work = Work(options.count, options.until)
    threads = [
        threading.Thread(target=run, args=(work, context, options))
        for _ in range(options.threads)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(work.done)
    for error in work.errors:
        print(error, file=sys.stderr)
    return 1 if work.errors or work.done == 0 else 0


sys.exit(main())
