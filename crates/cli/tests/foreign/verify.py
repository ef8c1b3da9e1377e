"""A back end in Python: believes tokens by PyJWT and webhooks by standardwebhooks, as docs/tokens.md and docs/webhooks.md say.

Reads one JSON object from each line and answers each with one line: what it believes, or {"refused": why}.
"""
import json
import sys

import jwt
from standardwebhooks.webhooks import Webhook


def token(asked):
    keys = jwt.PyJWKClient(asked["jwks"])
    key = keys.get_signing_key_from_jwt(asked["token"])
    return jwt.decode(
        asked["token"],
        key,
        algorithms=["EdDSA", "ES256"],
        issuer=asked["issuer"],
        audience=asked["audience"],
        options={"require": ["iss", "aud", "sub", "exp", "iat", "jti"]},
    )


def webhook(asked):
    return Webhook(asked["secret"]).verify(asked["body"], asked["headers"])


for line in sys.stdin:
    asked = json.loads(line)
    try:
        answer = token(asked) if "token" in asked else webhook(asked)
    except Exception as error:  # whatever a library refuses with
        answer = {"refused": type(error).__name__}
    print(json.dumps(answer), flush=True)
