"""An upstream's check of `Doorward-Assertion` with PyJWT: the lines between the marks stand in docs/upstream-identity.md.

KEYS, GATEWAY, RESOURCE; ASSERTION_FILE: what an upstream really received.
"""

import base64
import json
import os
import pathlib
import sys

# --- begin
import jwt

keys = jwt.PyJWKClient(os.environ["KEYS"])


def caller(assertion: str) -> dict:
    token = jwt.decode_complete(assertion, keys.get_signing_key_from_jwt(assertion).key, algorithms=["ES256"],
                                issuer=os.environ["GATEWAY"], audience=os.environ["RESOURCE"], options={"require": ["exp"]})
    if token["header"].get("typ") != "doorward-assertion+jwt":
        raise jwt.InvalidTokenError("not an assertion")
    return token["payload"]
# --- end


def refused(claim, assertion):
    try:
        caller(assertion)
    except jwt.PyJWTError:
        return
    raise AssertionError(f"{claim} was accepted")


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


assertion = pathlib.Path(os.environ["ASSERTION_FILE"]).read_text().strip()
try:
    who = caller(assertion)
    assert who["client_id"] and who["sub_id"]["iss"] and who["exp"] - who["iat"] <= 60, list(who)
    head, _, signature = assertion.split(".")
    forged = encoded({**who, "sub": "root"})
    refused("a changed payload", f"{head}.{forged}.{signature}")
    refused("no signature", f"{encoded({'alg': 'none', 'typ': 'doorward-assertion+jwt', 'kid': jwt.get_unverified_header(assertion)['kid']})}.{forged}.")
    os.environ["RESOURCE"] = "https://other.example"
    refused("another audience", assertion)
    print("PASS PyJWT: an assertion verifies, forged ones do not")
except Exception as error:
    print(f"FAIL PyJWT: {type(error).__name__}: {error}")
    sys.exit(1)
