"""A sign-up flow as it is written against Twilio's own service: nothing in this file knows of Countersign.

`send NUMBER` and `check NUMBER CODE`, with TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and VERIFY_SERVICE_SID in the environment, as in
Twilio's tutorials.
"""

import os
import sys

from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client

client = Client(os.environ["TWILIO_ACCOUNT_SID"], os.environ["TWILIO_AUTH_TOKEN"])
verify = client.verify.v2.services(os.environ["VERIFY_SERVICE_SID"])


def send(phone):
    verification = verify.verifications.create(to=phone, channel="sms")
    print(verification.status)


def check(phone, code):
    try:
        result = verify.verification_checks.create(to=phone, code=code)
    except TwilioRestException as error:
        print("expired" if error.code == 20404 else f"error {error.code}")
        return
    print("welcome" if result.status == "approved" and result.valid else "try again")


if __name__ == "__main__":
    {"send": send, "check": check}[sys.argv[1]](*sys.argv[2:])
