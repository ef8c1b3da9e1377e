"""Every call of the Twilio dialect, judged by the description of the API that Twilio publishes.

    twilio.py <twilio_verify_v2.json>

Each answer must have the status that is published for its call and be of the published shape, with every published member and no
other: Twilio's shapes require none, but strict SDKs read them all. The address, the key and a second key of the server are in the
environment; without a gateway its messages are in the inbox.
"""

import json
import os
import re
import sys
import time

import jsonschema_rs
import requests

BASE = os.environ["COUNTERSIGN_URL"]
SPEC = json.load(open(sys.argv[1]))
# What later editions of the description have, and what is ours.
MORE = {"verify.v2.service": {"passkeys"}, "verify.v2.service.webhook": {"signing_secret"}}
# What the door does not have: 404, 20404.
ABSENT = ("AccessTokens", "Entities", "Forms", "MessagingConfigurations", "Passkeys")
# Silent network authentication.
UNSENT = {"SnaClientToken"}

session = requests.Session()
session.auth = (os.environ["ACCOUNT_SID"], os.environ["AUTH_TOKEN"])
called, sent = set(), {}


def strict(schema, name=""):
    """JSON Schema for a schema of OpenAPI 3.0, which says `nullable`."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return strict(SPEC["components"]["schemas"][name], name)
    made = {key: value for key, value in schema.items() if key in ("enum", "format", "maxLength", "minLength", "pattern")}
    if "type" in schema:
        made["type"] = [schema["type"], "null"] if schema.get("nullable") else schema["type"]
    if "enum" in made and schema.get("nullable"):
        made["enum"] = [*made["enum"], None]
    if "properties" in schema:
        made["properties"] = {key: strict(value) for key, value in schema["properties"].items()}
        made["required"] = list(made["properties"])
        made["properties"].update({key: {} for key in MORE.get(name, ())})
        made["additionalProperties"] = False
    if "items" in schema:
        made["items"] = strict(schema["items"])
    return made


def operation(method, path):
    """The published call that this is, the one with the fewest places in its path."""
    names = [known for known in SPEC["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", known), path)]
    name = min(names, key=lambda known: known.count("{"))
    return name, SPEC["paths"][name][method]


def ask(method, path, form=None, query=None):
    name, published = operation(method, path)
    fields = published.get("requestBody", {}).get("content", {}).get("application/x-www-form-urlencoded", {})
    known = set(fields.get("schema", {}).get("properties", {}))
    assert set(form or {}) <= known, f"{method} {name}: {set(form) - known} is not published"
    parameters = {entry["name"] for entry in published.get("parameters", []) if entry["in"] == "query"}
    assert set(query or {}) <= parameters, f"{method} {name}: {set(query) - parameters} is not published"
    answer = session.request(method, BASE + path, data=form, params=query, timeout=20)
    called.add((method, name))
    tried = sent.setdefault((method, name), (known | parameters, set()))[1]
    tried |= set(form or {}) | set(query or {})
    told = published["responses"].get(str(answer.status_code))
    assert told, f"{method} {path}: {answer.status_code} is not published: {answer.text}"
    if not told.get("content"):
        assert answer.content == b"", answer.text
        return None
    body = answer.json()
    for wrong in jsonschema_rs.Draft4Validator(strict(told["content"]["application/json"]["schema"]), validate_formats=True).iter_errors(body):
        raise AssertionError(f"{method} {path}: {wrong.message} at {list(wrong.instance_path)}: {answer.text}")
    return body


def refused(method, path, status, code, form=None, auth=None):
    """What is published of refusals: the four members of an error, in prose alone."""
    answer = session.request(method, BASE + path, data=form, auth=auth or session.auth, timeout=20)
    shape = {"code": code, "message": answer.json().get("message"), "status": status}
    assert answer.status_code == status and answer.json() == {**shape, "more_info": f"https://www.twilio.com/docs/errors/{code}"}, answer.text
    assert isinstance(shape["message"], str)


def code_to(number):
    for _ in range(200):
        for message in requests.get(f"{BASE}/inbox.json", timeout=5).json()["messages"]:
            if message["to"] == number:
                return re.search(r"\d{4,10}", message["text"]).group()
        time.sleep(0.05)
    raise AssertionError(f"no message to {number}")


# Services, with every setting that there is.
settings = {
    "FriendlyName": "Cool App", "CodeLength": 6, "LookupEnabled": "true", "SkipSmsToLandlines": "true", "DtmfInputRequired": "true",
    "TtsName": "Cool", "Psd2Enabled": "false", "DoNotShareWarningEnabled": "false", "CustomCodeEnabled": "true", "Push.IncludeDate": "false",
    "Push.ApnCredentialSid": "CR" + "a" * 32, "Push.FcmCredentialSid": "CR" + "b" * 32, "Totp.Issuer": "Cool", "Totp.TimeStep": 30,
    "Totp.CodeLength": 6, "Totp.Skew": 1, "DefaultTemplateSid": "", "Whatsapp.MsgServiceSid": "MG" + "c" * 32,
    "Whatsapp.From": "whatsapp:+15005550006", "VerifyEventSubscriptionEnabled": "false",
}
templates = ask("get", "/v2/Templates", query={"PageSize": 1, "Page": 0})["templates"]
settings["DefaultTemplateSid"] = templates[0]["sid"]
made = ask("post", "/v2/Services", settings)
service = f"/v2/Services/{made['sid']}"
ask("get", "/v2/Services", query={"PageSize": 1})
following = ask("get", "/v2/Services", query={"PageSize": 1})["meta"]["next_page_url"]
page = dict(part.split("=") for part in following.split("?")[1].split("&"))
assert len(ask("get", "/v2/Services", query=page)["services"]) == 1
ask("get", service)
ask("post", service, {**settings, "FriendlyName": "Cooler App"})
pages = {"PageSize": 20, "Page": 0}
ask("get", "/v2/Templates", query={**pages, "FriendlyName": templates[0]["friendly_name"]})

# Rate limits and buckets.
limit = f"{service}/RateLimits/{ask('post', f'{service}/RateLimits', {'UniqueName': 'user', 'Description': 'each'})['sid']}"
ask("get", f"{service}/RateLimits", query=pages)
ask("get", limit)
ask("post", limit, {"Description": "each user"})
bucket = f"{limit}/Buckets/{ask('post', f'{limit}/Buckets', {'Max': 50, 'Interval': 60})['sid']}"
ask("get", f"{limit}/Buckets", query=pages)
ask("get", bucket)
ask("post", bucket, {"Max": 60, "Interval": 120})

# Webhooks.
hook = {"FriendlyName": "hook", "EventTypes": ["verification.approved", "*"], "WebhookUrl": "https://app.example/", "Status": "enabled", "Version": "v2"}
webhook = f"{service}/Webhooks/{ask('post', f'{service}/Webhooks', hook)['sid']}"
ask("get", f"{service}/Webhooks", query=pages)
assert "signing_secret" not in ask("get", webhook)
ask("post", webhook, {**hook, "Status": "disabled"})

# Verifications: everything that can be said of one, a right code, a wrong one, and both ends on the application's word.
first, second, third = (f"+25569400100{nth}" for nth in (1, 2, 3))
everything = {
    "To": first, "Channel": "sms", "CustomFriendlyName": "Coolest", "CustomMessage": "x", "SendDigits": "1", "Locale": "sw", "CustomCode": "314159",
    "RateLimits": json.dumps({"user": "7"}), "ChannelConfiguration": "{}", "AppHash": "He42w354ols", "TemplateSid": templates[0]["sid"],
    "TemplateCustomSubstitutions": json.dumps({"name": "x"}), "DeviceIp": "203.0.113.9", "EnableSnaClientToken": "false", "RiskCheck": "disable",
    "Tags": json.dumps({"a": "b"}),
}
begun = ask("post", f"{service}/Verifications", everything)
assert begun["status"] == "pending" and begun["valid"] is False
ask("get", f"{service}/Verifications/{begun['sid']}")
ask("get", f"{service}/Verifications/{first}")
for by in ({"To": first}, {"VerificationSid": begun["sid"]}):
    assert ask("post", f"{service}/VerificationCheck", {**by, "Code": "271828"})["status"] == "pending"
assert ask("post", f"{service}/VerificationCheck", {"To": first, "Code": code_to(first)})["valid"] is True
refused("post", f"{service}/VerificationCheck", 404, 20404, {"To": first, "Code": "314159"})
ask("post", f"{service}/Verifications", {"To": second, "Channel": "call"})
assert ask("post", f"{service}/Verifications/{second}", {"Status": "canceled"})["status"] == "canceled"
ask("post", f"{service}/Verifications", {"To": third, "Channel": "whatsapp"})
assert ask("post", f"{service}/Verifications/{third}", {"Status": "approved"})["valid"] is True
ask("post", f"{service}/Verifications", {"To": "jane@example.com", "Channel": "email"})
# A payment.
ask("post", service, {"Psd2Enabled": "true"})
payment = {"To": second, "Amount": "39.99 EUR", "Payee": "Acme"}
ask("post", f"{service}/Verifications", {**payment, "Channel": "sms"})
assert ask("post", f"{service}/VerificationCheck", {**payment, "Code": code_to(second)})["valid"] is True
ask("post", service, {"Psd2Enabled": "false"})

# Attempts.
past, future = "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z"
attempts = ask("get", "/v2/Attempts", query={**pages, "DateCreatedAfter": past, "DateCreatedBefore": future, "VerifyServiceSid": made["sid"]})
assert len(attempts["attempts"]) == 5, attempts
ask("get", f"/v2/Attempts/{attempts['attempts'][0]['sid']}")
found = ask("get", "/v2/Attempts", query={"ChannelData.To": first, "Country": "TZ", "Channel": "sms", "VerificationSid": begun["sid"], "Status": "converted"})
assert len(found["attempts"]) == 1, found
ask("get", "/v2/Attempts", query={"PageSize": 1, "Page": 1, "PageToken": dict(
    part.split("=") for part in ask("get", "/v2/Attempts", query={"PageSize": 1})["meta"]["next_page_url"].split("?")[1].split("&"))["PageToken"]})
summary = {"VerifyServiceSid": made["sid"], "DateCreatedAfter": past, "DateCreatedBefore": future, "Country": "TZ", "Channel": "sms", "DestinationPrefix": "+255"}
assert ask("get", "/v2/Attempts/Summary", query=summary)["total_converted"] == 2

# The safe list.
ask("post", "/v2/SafeList/Numbers", {"PhoneNumber": first})
ask("get", f"/v2/SafeList/Numbers/{first}")
ask("delete", f"/v2/SafeList/Numbers/{first}")

# Refusals, and what is not there.
refused("get", service, 401, 20003, auth=("AC" + "0" * 32, "wrong"))
refused("post", f"{service}/Verifications", 400, 60200, {"To": "nonsense", "Channel": "sms"})
refused("post", f"{service}/Verifications", 400, 60223, {"To": first, "Channel": "sna"})
refused("post", f"{service}/RateLimits", 409, 60208, {"UniqueName": "user"})
for name, calls in SPEC["paths"].items():
    absent = [method for method in ("get", "post", "delete") if method in calls and any(word in name for word in ABSENT)]
    for method in absent:
        refused(method, re.sub(r"{\w+}", "x", name.replace("{ServiceSid}", made["sid"])), 404, 20404)
        called.add((method, name))

for gone in (bucket, limit, webhook, service):
    ask("delete", gone)
    refused("get", gone, 404, 20404)

published = {(method, name) for name, calls in SPEC["paths"].items() for method in ("get", "post", "delete") if method in calls}
assert called == published, f"never called: {published - called}"
paging = {"PageSize", "Page", "PageToken"}
for (method, name), (known, tried) in sent.items():
    assert known - tried <= UNSENT | paging, f"{method} {name}: never sent: {known - tried}"
print(f"ok {len(published)} calls")
