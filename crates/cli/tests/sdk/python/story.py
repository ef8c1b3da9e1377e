"""The whole story of Twilio Verify v2, told to Countersign by the official Python SDK, unmodified but for the base URL.

COUNTERSIGN_URL, ACCOUNT_SID, AUTH_TOKEN, KEY_SID and KEY_SECRET say where and who. Codes are read from the inbox, as a phone would.
Prints one line for each chapter; the first thing that is not as it should be ends it with a trace and exit code 1.
"""

import base64
import hmac
import http.server
import json
import os
import re
import threading
import time
import urllib.request
from datetime import datetime, timezone

from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client

BASE = os.environ["COUNTERSIGN_URL"]


def client(user, secret, account=None):
    made = Client(user, secret, account_sid=account)
    made.verify.base_url = BASE
    return made


twilio = client(os.environ["ACCOUNT_SID"], os.environ["AUTH_TOKEN"])
numbers = (f"+255694{n:06}" for n in range(100000, 200000))


def chapter(name):
    print("ok", name, flush=True)


def code_of(to):
    """The code of the newest message to this number or address."""
    for _ in range(200):
        inbox = json.load(urllib.request.urlopen(BASE + "/inbox.json"))
        for message in inbox["messages"]:
            if message["to"] == to:
                return re.search(r"\b\d{4,10}\b", message["text"]).group()
        time.sleep(0.02)
    raise AssertionError(f"no message to {to}")


def texts_to(to):
    inbox = json.load(urllib.request.urlopen(BASE + "/inbox.json"))
    return [message["text"] for message in inbox["messages"] if message["to"] == to]


def wrong(code):
    return str((int(code) + 1) % 10 ** len(code)).zfill(len(code))


def refused(status, number, call, /, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except TwilioRestException as error:
        assert (error.status, error.code) == (status, number), (error.status, error.code, error.msg)
        return error
    raise AssertionError(f"not refused: expected {status} {number}")


# Services.
service = twilio.verify.v2.services.create(friendly_name="Story", code_length=7, lookup_enabled=True)
assert re.fullmatch("VA[0-9a-f]{32}", service.sid), service.sid
assert service.account_sid == os.environ["ACCOUNT_SID"]
assert (service.friendly_name, service.code_length, service.lookup_enabled) == ("Story", 7, True)
assert isinstance(service.date_created, datetime), service.date_created
assert set(service.links) == {
    "verifications", "verification_checks", "rate_limits", "messaging_configurations", "entities", "webhooks", "access_tokens",
}
assert service.url.startswith(BASE + "/v2/Services/VA"), service.url
assert service.update(code_length=6).code_length == 6
assert twilio.verify.v2.services(service.sid).fetch().code_length == 6
refused(400, 60200, twilio.verify.v2.services.create, friendly_name="1234567")
refused(400, 60200, twilio.verify.v2.services.create, friendly_name="x" * 31)
refused(400, 60200, twilio.verify.v2.services.create, friendly_name="ok", code_length=11)
refused(404, 20404, twilio.verify.v2.services("VA" + "0" * 32).fetch)
chapter("services")

# Paging follows the addresses in meta: all of them are ours.
made = {twilio.verify.v2.services.create(friendly_name=f"Page {n}").sid for n in range(7)}
listed = [one.sid for one in twilio.verify.v2.services.list(page_size=3)]
assert made < set(listed) and len(listed) == len(set(listed)), listed
first = twilio.verify.v2.services.page(page_size=3)
second = first.next_page()
assert [one.sid for one in second.previous_page()] == [one.sid for one in first]
default = listed[-1]
for sid in made:
    assert twilio.verify.v2.services(sid).delete() is True
refused(404, 20404, twilio.verify.v2.services(next(iter(made))).fetch)
refused(403, 20403, twilio.verify.v2.services(default).delete)
chapter("paging and deleting")

verify = twilio.verify.v2.services(service.sid)

# A code is sent, sent again, checked wrong, checked right, once.
to = next(numbers)
sent = verify.verifications.create(to=to, channel="sms")
assert re.fullmatch("VE[0-9a-f]{32}", sent.sid), sent.sid
assert (sent.to, sent.channel, sent.status, sent.valid) == (to, "sms", "pending", False)
assert (sent.service_sid, len(sent.send_code_attempts), sent.amount, sent.payee) == (service.sid, 1, None, None)
assert sent.lookup["carrier"]["type"] == "mobile", sent.lookup
assert isinstance(sent.date_created, datetime)
code = code_of(to)
again = verify.verifications.create(to=to, channel="sms")
assert again.sid == sent.sid and len(again.send_code_attempts) == 2
assert again.send_code_attempts[0]["channel"] == "SMS"
assert re.fullmatch("VL[0-9a-f]{32}", again.send_code_attempts[1]["attempt_sid"])
for _ in range(200):
    if len(texts_to(to)) == 2:
        break
    time.sleep(0.02)
assert all(code in text for text in texts_to(to)) and len(texts_to(to)) == 2
assert verify.verifications(sent.sid).fetch().status == "pending"
assert verify.verifications(to).fetch().sid == sent.sid
check = verify.verification_checks.create(to=to, code=wrong(code))
assert (check.status, check.valid, check.sid) == ("pending", False, sent.sid)
check = verify.verification_checks.create(to=to, code=code)
assert (check.status, check.valid, check.to, check.channel) == ("approved", True, to, "sms")
refused(404, 20404, verify.verification_checks.create, to=to, code=code)
refused(404, 20404, verify.verifications(sent.sid).fetch)
chapter("send, send again, check")

# By sid and by number it is one count, and the sixth guess is too many.
to = next(numbers)
sent = verify.verifications.create(to=to, channel="sms")
code = code_of(to)
for guess in range(5):
    asked = {"to": to} if guess % 2 else {"verification_sid": sent.sid}
    assert verify.verification_checks.create(code=wrong(code), **asked).valid is False
refused(429, 60202, verify.verification_checks.create, to=to, code=code)
refused(429, 60202, verify.verification_checks.create, verification_sid=sent.sid, code=code)
chapter("five guesses")

# Five sends.
to = next(numbers)
sent = verify.verifications.create(to=to, channel="sms")
for _ in range(4):
    assert verify.verifications.create(to=to, channel="sms").sid == sent.sid
refused(429, 60203, verify.verifications.create, to=to, channel="sms")
chapter("five sends")

# Cancel; another channel; by email.
canceled = verify.verifications(sent.sid).update(status="canceled")
assert (canceled.status, canceled.valid) == ("canceled", False)
assert verify.verifications(sent.sid).fetch().status == "canceled"
refused(404, 20404, verify.verification_checks.create, to=to, code="123456")
to = next(numbers)
sent = verify.verifications.create(to=to, channel="sms")
called = verify.verifications.create(to=to, channel="call")
assert (called.sid, called.channel, called.send_code_attempts[1]["channel"]) == (sent.sid, "call", "CALL")
mail = verify.verifications.create(to="person@example.com", channel="email")
assert verify.verification_checks.create(to="person@example.com", code=code_of("person@example.com")).valid is True
approved = verify.verifications(sent.sid).update(status="approved")
assert (approved.status, approved.valid) == ("approved", True)
chapter("cancel, approve, channels")

# What cannot be meant.
to = next(numbers)
for wrong_one in [
    {"to": "", "channel": "sms"},
    {"to": "12", "channel": "sms"},
    {"to": to, "channel": "pigeon"},
    {"to": to, "channel": "sms", "locale": "not a locale"},
    {"to": to, "channel": "sms", "app_hash": "short"},
    {"to": to, "channel": "sms", "device_ip": "nowhere"},
    {"to": to, "channel": "sms", "tags": "[]"},
    {"to": to, "channel": "sms", "template_sid": "HJ" + "0" * 32},
    {"to": to, "channel": "sms", "rate_limits": "{\"unknown\": \"x\"}"},
    {"to": to, "channel": "sms", "risk_check": "perhaps"},
]:
    refused(400, 60200, verify.verifications.create, **wrong_one)
refused(400, 60221, verify.verification_checks.create, code="123456")
refused(400, 60200, verify.verification_checks.create, to=to, code="12")
refused(404, 20404, verify.verification_checks.create, to=to, code="123456")
refused(400, 60223, verify.verifications.create, to=to, channel="sna")
assert texts_to(to) == []
chapter("invalid parameters")

# Words of one's own.
to = next(numbers)
verify.verifications.create(
    to=to, channel="sms", custom_friendly_name="Other Name", app_hash="abcdefghijk", locale="en", device_ip="198.51.100.7",
    tags=json.dumps({"order": "12"}), template_custom_substitutions=json.dumps({"order": "12"}), risk_check="enable",
)
code_of(to)
assert "Other Name" in texts_to(to)[0] and "\nabcdefghijk" in texts_to(to)[0], texts_to(to)
template = next(one for one in twilio.verify.v2.templates.list() if one.friendly_name == "default")
assert "sms" in template.channels and "en" in template.translations, template.translations
verify.verifications.create(to=to, channel="sms", template_sid=template.sid)
chapter("names, hashes, tags, templates")

# Codes of one's own.
own = twilio.verify.v2.services.create(friendly_name="Own codes", custom_code_enabled=True)
assert own.custom_code_enabled is True
to = next(numbers)
refused(403, 60204, verify.verifications.create, to=to, channel="sms", custom_code="000123")
twilio.verify.v2.services(own.sid).verifications.create(to=to, channel="sms", custom_code="000123")
assert code_of(to) == "000123"
assert twilio.verify.v2.services(own.sid).verification_checks.create(to=to, code="000123").valid is True
chapter("custom codes")

# Payments: the check must name the same.
bank = twilio.verify.v2.services.create(friendly_name="Bank", psd2_enabled=True)
pay = twilio.verify.v2.services(bank.sid)
to = next(numbers)
refused(400, 60206, pay.verifications.create, to=to, channel="sms")
refused(403, 60214, pay.verifications.create, to=to, channel="call", amount="39.99 EUR", payee="Acme")
sent = pay.verifications.create(to=to, channel="sms", amount="39.99 EUR", payee="Acme")
assert (sent.amount, sent.payee) == ("39.99 EUR", "Acme")
code = code_of(to)
assert "39.99 EUR" in texts_to(to)[0] and "Acme" in texts_to(to)[0]
assert pay.verification_checks.create(to=to, code=code, amount="3999 EUR", payee="Acme").valid is False
refused(400, 60206, pay.verification_checks.create, to=to, code=code)
refused(400, 60200, pay.verifications.create, to=to, channel="sms", amount="40 EUR", payee="Acme")
check = pay.verification_checks.create(to=to, code=code, amount="39.99 EUR", payee="Acme")
assert (check.valid, check.amount, check.payee) == (True, "39.99 EUR", "Acme")
chapter("payments")

# Rate limits of one's own.
limit = verify.rate_limits.create(unique_name="per_session", description="one session")
assert re.fullmatch("RK[0-9a-f]{32}", limit.sid) and limit.links["buckets"].startswith(BASE)
refused(409, 60208, verify.rate_limits.create, unique_name="per_session")
refused(400, 60209, verify.rate_limits.create, unique_name="not a name!")
bucket = verify.rate_limits(limit.sid).buckets.create(max=2, interval=60)
assert (bucket.max, bucket.interval, bucket.rate_limit_sid) == (2, 60, limit.sid)
refused(409, 60211, verify.rate_limits(limit.sid).buckets.create, max=9, interval=60)
wide = verify.rate_limits(limit.sid).buckets.create(max=100, interval=3600)
for _ in range(2):
    verify.verifications.create(to=next(numbers), channel="sms", rate_limits=json.dumps({"per_session": "s1"}))
last = next(numbers)
refused(429, 20429, verify.verifications.create, to=last, channel="sms", rate_limits=json.dumps({"per_session": "s1"}))
verify.verifications.create(to=last, channel="sms", rate_limits=json.dumps({"per_session": "s2"}))
assert verify.rate_limits(limit.sid).buckets(bucket.sid).update(max=50, interval=60).max == 50
verify.verifications.create(to=last, channel="sms", rate_limits=json.dumps({"per_session": "s1"}))
assert len(verify.rate_limits(limit.sid).buckets.list()) == 2
assert verify.rate_limits(limit.sid).buckets(wide.sid).delete() is True
assert verify.rate_limits(limit.sid).update(description="changed").description == "changed"
assert [one.sid for one in verify.rate_limits.list()] == [limit.sid]
assert verify.rate_limits(limit.sid).delete() is True
refused(404, 20404, verify.rate_limits(limit.sid).fetch)
chapter("rate limits and buckets")

# Webhooks, the safe list.
hook = verify.webhooks.create(
    friendly_name="hook", event_types=["factor.created", "verification.approved"], webhook_url="https://app.example/hook",
)
assert (hook.event_types, hook.status, hook.version) == (["factor.created", "verification.approved"], "enabled", "v2")
assert hook.webhook_method == "POST"
assert verify.webhooks(hook.sid).update(status="disabled").status == "disabled"
assert len(verify.webhooks.list()) == 1
refused(400, 60200, verify.webhooks.create, friendly_name="x", event_types=["no.such"], webhook_url="https://app.example/")
refused(400, 60200, verify.webhooks.create, friendly_name="x", event_types=["*"], webhook_url="ftp://app.example/")
assert verify.webhooks(hook.sid).delete() is True


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Where the account wants to hear of its verifications."""

    told = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        Endpoint.told.append((dict(self.headers), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Endpoint)
threading.Thread(target=server.serve_forever, daemon=True).start()
# The SDK knows of no secret, since the original signs nothing; its client shows the answer as it is.
made = twilio.request(
    "POST", f"{BASE}/v2/Services/{service.sid}/Webhooks",
    data={"FriendlyName": "told", "EventTypes": "verification.approved", "WebhookUrl": f"http://127.0.0.1:{server.server_port}/"},
)
assert made.status_code == 201, made.text
made = json.loads(made.text)
assert verify.webhooks(made["sid"]).fetch().webhook_url.endswith(f":{server.server_port}/")
to = next(numbers)
sent = verify.verifications.create(to=to, channel="sms")
assert verify.verification_checks.create(to=to, code=code_of(to)).status == "approved"
for _ in range(500):
    if Endpoint.told:
        break
    time.sleep(0.02)
[(headers, body)] = Endpoint.told
headers = {name.lower(): value for name, value in headers.items()}
key = base64.b64decode(made["signing_secret"].removeprefix("whsec_"))
signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
signature = "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
assert headers["webhook-signature"] == signature, (headers, signature)
event = json.loads(body)
assert (event["type"], event["data"]["verification"]["id"]) == ("verification.approved", sent.sid.replace("VE", "vf_"))
assert verify.webhooks(made["sid"]).delete() is True
server.shutdown()
blocked = "+447400123456"
refused(403, 60605, verify.verifications.create, to=blocked, channel="sms")
safe = twilio.verify.v2.safelist.create(phone_number=blocked)
assert safe.phone_number == blocked and re.fullmatch("GN[0-9a-f]{32}", safe.sid)
assert twilio.verify.v2.safelist(blocked).fetch().sid == safe.sid
assert verify.verifications.create(to=blocked, channel="sms").status == "pending"
assert twilio.verify.v2.safelist(blocked).delete() is True
refused(404, 20404, twilio.verify.v2.safelist(blocked).fetch)
refused(403, 60205, verify.verifications.create, to="+255222123456", channel="sms")
chapter("webhooks and the safe list")

# Attempts and their summary.
attempts = twilio.verify.v2.verification_attempts.list(verify_service_sid=service.sid, page_size=5)
sids = [attempt.sid for attempt in attempts]
assert len(sids) > 15 and len(sids) == len(set(sids)), sids
assert all(attempt.service_sid == service.sid for attempt in attempts)
one = next(attempt for attempt in attempts if attempt.conversion_status == "converted" and attempt.channel == "sms")
fetched = twilio.verify.v2.verification_attempts(one.sid).fetch()
assert (fetched.sid, fetched.channel_data["to"]) == (one.sid, one.channel_data["to"])
assert fetched.channel_data["country"] == "TZ" and isinstance(fetched.date_created, datetime)
calls = twilio.verify.v2.verification_attempts.list(channel="call")
assert calls and all(attempt.channel == "call" for attempt in calls)
ours = twilio.verify.v2.verification_attempts.list(channel_data_to=one.channel_data["to"])
assert ours and all(attempt.channel_data["to"] == one.channel_data["to"] for attempt in ours)
tomorrow = datetime(2999, 1, 1, tzinfo=timezone.utc)
assert twilio.verify.v2.verification_attempts.list(date_created_after=tomorrow) == []
summary = twilio.verify.v2.verification_attempts_summary().fetch(verify_service_sid=service.sid)
assert summary.total_attempts == len(sids)
assert summary.total_converted + summary.total_unconverted == summary.total_attempts
assert 0 < float(summary.conversion_rate_percentage) < 100
chapter("attempts and their summary")

# Who asks.
key = client(os.environ["KEY_SID"], os.environ["KEY_SECRET"], os.environ["ACCOUNT_SID"])
assert key.verify.v2.services(service.sid).fetch().sid == service.sid
for user, secret in [
    (os.environ["ACCOUNT_SID"], "0" * 32),
    (os.environ["KEY_SID"], os.environ["AUTH_TOKEN"]),
    (os.environ["ACCOUNT_SID"], os.environ["KEY_SECRET"]),
    ("AC" + "0" * 32, os.environ["AUTH_TOKEN"]),
]:
    stranger = client(user, secret, os.environ["ACCOUNT_SID"])
    error = refused(401, 20003, stranger.verify.v2.services(service.sid).fetch)
    assert isinstance(error, TwilioException)
chapter("credentials")

# Two services never meet.
other = twilio.verify.v2.services(default)
to = next(numbers)
here = verify.verifications.create(to=to, channel="sms")
there = other.verifications.create(to=to, channel="sms")
assert here.sid != there.sid
refused(404, 20404, other.verifications(here.sid).fetch)
refused(404, 20404, other.verification_checks.create, verification_sid=here.sid, code="123456")
chapter("two services")

assert twilio.verify.v2.services(service.sid).delete() is True
refused(404, 20404, verify.verifications.create, to=to, channel="sms")
chapter("the end")
