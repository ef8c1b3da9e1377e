"""Runs app.py, which knows of Twilio alone, against Countersign without a change: by a proxy that takes verify.twilio.com for
Countersign, with a certificate of a private authority. It is the way for programs whose host cannot be set.

COUNTERSIGN_URL, ACCOUNT_SID and AUTH_TOKEN say where and who. Needs the openssl command.
"""

import base64
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request

HOST = "verify.twilio.com"
BASE = os.environ["COUNTERSIGN_URL"]
TARGET = BASE.removeprefix("http://").split(":")
HERE = pathlib.Path(__file__).parent


def certificate():
    """A key and a certificate for the host, signed by itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", "host.key", "-out", "host.pem"],
        check=True, capture_output=True,
    )


def pump(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
    except OSError:
        pass
    finally:
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def carry(plain, context):
    """One connection through the proxy: CONNECT, TLS as the host, and on to Countersign."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += plain.recv(4096)
    if not head.startswith(f"CONNECT {HOST}:443 ".encode()):
        plain.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        return plain.close()
    plain.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    safe = context.wrap_socket(plain, server_side=True)
    onward = socket.create_connection((TARGET[0], int(TARGET[1])))
    threading.Thread(target=pump, args=(safe, onward), daemon=True).start()
    pump(onward, safe)


def proxy():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("host.pem", "host.key")
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            plain, _ = listener.accept()
            threading.Thread(target=carry, args=(plain, context), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def as_account(path, **form):
    """A call of ours, to find the service that every account has."""
    pair = base64.b64encode(f"{os.environ['ACCOUNT_SID']}:{os.environ['AUTH_TOKEN']}".encode()).decode()
    request = urllib.request.Request(BASE + path, headers={"Authorization": "Basic " + pair})
    return json.load(urllib.request.urlopen(request))


def newest_code(to):
    for _ in range(200):
        for message in json.load(urllib.request.urlopen(BASE + "/inbox.json"))["messages"]:
            if message["to"] == to:
                return re.search(r"\b\d{4,10}\b", message["text"]).group()
        time.sleep(0.02)
    raise AssertionError("no message")


certificate()
port = proxy()
service = as_account("/v2/Services")["services"][-1]["sid"]
environment = {
    "PATH": os.environ.get("PATH", ""),
    "TWILIO_ACCOUNT_SID": os.environ["ACCOUNT_SID"],
    "TWILIO_AUTH_TOKEN": os.environ["AUTH_TOKEN"],
    "VERIFY_SERVICE_SID": service,
    "HTTPS_PROXY": f"http://127.0.0.1:{port}",
    "REQUESTS_CA_BUNDLE": os.path.abspath("host.pem"),
}


def app(*arguments):
    done = subprocess.run(
        [sys.executable, str(HERE / "app.py"), *arguments], env=environment, capture_output=True, text=True, timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


phone = "+255694230173"
assert app("send", phone) == "pending"
code = newest_code(phone)
assert app("check", phone, str((int(code) + 1) % 10 ** len(code)).zfill(len(code))) == "try again"
assert app("check", phone, code) == "welcome"
assert app("check", phone, code) == "expired"
print("ok the end")
