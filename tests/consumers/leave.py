"""Clients that begin a TLS handshake and leave while the server waits for KMS.

In each round 50 of them greet the server; once KMS has had a Sign request for each, they close.
"""

import argparse
import json
import socket
import ssl
import struct
import sys
import time
import urllib.request

CLIENTS = 50
WAIT = 30


def greeting(context):
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="web.test")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise ssl.SSLError("no greeting")


def signatures(url):
    with urllib.request.urlopen(f"{url}/_admin/requests", timeout=WAIT) as answer:
        return json.load(answer)["operations"].get("Sign", 0)


def leave(context, options):
    before = signatures(options.url)
    plain = []
    for _ in range(CLIENTS):
        plain.append(socket.create_connection((options.address, options.port), WAIT))
        plain[-1].sendall(greeting(context))
    end = time.monotonic() + WAIT
    while signatures(options.url) < before + CLIENTS:
        if time.monotonic() > end:
            return False
    for client in plain:
        if options.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--reset", action="store_true", help="reset the connections")
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("url", help="of kms-local")
    options = parser.parse_args()
    context = ssl.create_default_context()
    for _ in range(options.rounds):
        if not leave(context, options):
            print("KMS was not asked for all", file=sys.stderr)
            return 1
    return 0


sys.exit(main())
