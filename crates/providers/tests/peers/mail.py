"""A mail server (aiosmtpd) for the tests of the provider `smtp`.

It writes a line of JSON for everything that happens: {"ready": port}, {"opened": n}, {"message": …}. What it does with a message depends
on the part of the recipient before the `@`.
"""

import argparse
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


def tell(**what):
    print(json.dumps(what), flush=True)


RECIPIENTS = {
    "nobody": "550 5.1.1 no such user nobody@example.com, code 482913",
    "moved": "551 not local",
    "badname": "553 mailbox name not allowed",
    "full": "452 4.2.2 mailbox full",
    "grey": "450 4.2.0 greylisted",
    "relay": "550 5.7.1 relaying denied",
    "closing": "421 4.3.2 closing",
}
MESSAGES = {
    "spam": "554 5.7.1 spam",
    "failed": "554 transaction failed",
    "later": "451 4.3.0 try later",
}


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        if address.startswith("stranger@"):
            return "553 5.7.1 not yours"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        word = address.split("@")[0]
        if word == "hangup":
            server.transport.close()
            return "250 OK"
        if word in RECIPIENTS:
            return RECIPIENTS[word]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        to = envelope.rcpt_tos[0]
        word = to.split("@")[0]
        tell(
            message=envelope.content.decode("latin-1"),
            mail_from=envelope.mail_from,
            to=to,
            tls=session.ssl is not None or server.transport.get_extra_info("ssl_object") is not None,
            authenticated=session.authenticated or False,
            hello=session.host_name,
        )
        if word == "silence":
            await asyncio.sleep(60)
        if word == "lost":
            server.transport.close()
            return "250 OK"
        if word == "slow":
            await asyncio.sleep(0.5)
        return MESSAGES.get(word, "250 2.0.0 OK: queued as 4F3A")


def login(server, session, envelope, mechanism, data):
    good = data.login == b"codes" and data.password == b"correct-horse"
    return AuthResult(success=good, handled=False)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tls", choices=["starttls", "implicit", "none"], default="none")
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--auth", action="store_true")
    parser.add_argument("--idle", type=float, default=300)
    options = parser.parse_args()
    context = None
    if options.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(options.cert, options.key)
    opened = 0

    def protocol():
        nonlocal opened
        opened += 1
        tell(opened=opened)
        return SMTP(
            Handler(),
            hostname="mail.example.com",
            timeout=options.idle,
            tls_context=context if options.tls == "starttls" else None,
            require_starttls=options.tls == "starttls",
            auth_required=options.auth,
            auth_require_tls=options.tls == "starttls",
            authenticator=login,
        )

    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        protocol, "127.0.0.1", 0, ssl=context if options.tls == "implicit" else None
    )
    tell(ready=server.sockets[0].getsockname()[1])
    # Ends with whoever started it.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
