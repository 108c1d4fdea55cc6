"""A real mail server for tests: aiosmtpd, which prints each mail it accepts as one line of JSON.

Arguments: MODE [CERTIFICATE KEY]. Modes: plain; starttls, which requires it and a login; tls from the first byte, and a
login. The first line printed is the port.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Keep:
    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)

        def body(kind):
            part = mail.get_body((kind,))
            return part.get_content() if part else None

        print(json.dumps({
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "headers": [[name, str(value)] for name, value in mail.items()],
            "text": body("plain"),
            "html": body("html"),
            "tls": session.ssl is not None,
            "user": session.auth_data.decode() if session.auth_data else None,
        }), flush=True)
        return "250 kept"


def login(server, session, envelope, mechanism, data):
    good = data.login == b"ci" and data.password == b"geheim"
    return AuthResult(success=good, handled=False, auth_data=data.login)


def context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[3])
    return context


def server():
    if sys.argv[1] == "plain":
        return SMTP(Keep(), hostname="real.example.org")
    if sys.argv[1] == "tls":
        return SMTP(Keep(), hostname="real.example.org", authenticator=login, auth_required=True,
                    auth_require_tls=False)
    return SMTP(Keep(), hostname="real.example.org", tls_context=context(), require_starttls=True,
                authenticator=login, auth_required=True)


async def main():
    secure = context() if sys.argv[1] == "tls" else None
    listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0, ssl=secure)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


asyncio.run(main())
