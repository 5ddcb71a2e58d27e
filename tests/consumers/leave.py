"""Clients that begin a TLS handshake and leave while the server waits for KMS.

In each round 50 of them greet the server; once KMS has had a Sign request for each, they close.
"""

import argparse
import json
import socket
import ssl
import sys
import time
import urllib.request

CLIENTS = 50
WAIT = 30


def greeting():
    context = ssl.create_default_context()
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


def leave(options):
    before = signatures(options.url)
    plain = []
    for _ in range(CLIENTS):
        plain.append(socket.create_connection((options.address, options.port), WAIT))
        plain[-1].sendall(greeting())
    end = time.monotonic() + WAIT
    while signatures(options.url) < before + CLIENTS:
        if time.monotonic() > end:
            return False
    for client in plain:
        client.close()
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("url", help="of kms-local")
    options = parser.parse_args()
    for _ in range(options.rounds):
        if not leave(options):
            print("KMS was not asked for all", file=sys.stderr)
            return 1
    return 0


sys.exit(main())
