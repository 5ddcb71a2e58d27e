"""A server and a client with Python's own http.server and ssl, and keys from PEM files.

usage: tls.py serve threads|forks|mutual ADDRESS PORT CERTIFICATE KEY CA
       tls.py get ADDRESS PORT CERTIFICATE KEY CA HOST
"""

import http.server
import socket
import socketserver
import ssl
import sys

WAIT = 20


class Page(http.server.BaseHTTPRequestHandler):
    """Tells the name in the client's certificate."""

    timeout = WAIT

    def setup(self):
        self.request.settimeout(WAIT)
        self.request.do_handshake()  # here, so that each client has a thread or child of its own
        super().setup()

    def do_GET(self):
        certificate = self.request.getpeercert() or {}
        names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        page = f"verified: {' '.join(names)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)


class Threads(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True


class Forks(socketserver.ForkingMixIn, http.server.HTTPServer):
    max_children = 16


def use(context):
    """A handshake inside this process: what forks afterwards does so with a connection to KMS."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(back, there), context.wrap_bio(there, back, server_side=True)]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass


def serve(model, address, port, certificate, key, ca):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if model == "mutual":
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    if model == "forks":
        use(context)
    server = (Forks if model == "forks" else Threads)((address, int(port)), Page)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    server.serve_forever()


def get(address, port, certificate, key, ca, host):
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    with socket.create_connection((address, int(port)), WAIT) as plain:
        with context.wrap_socket(plain, server_hostname=host) as tls:
            tls.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            with tls.makefile("rb") as answer:
                print(answer.read().decode().split("\r\n\r\n", 1)[1], end="")


if sys.argv[1] == "serve":
    serve(*sys.argv[2:])
else:
    get(*sys.argv[2:])
