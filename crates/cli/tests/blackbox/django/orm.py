"""What the application itself does with its table, through its ORM alone: `fill` writes rows, `show` prints all of them as JSON."""
import json
import os
import sys
from datetime import datetime, timedelta, timezone

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
django.setup()

from accounts.models import Verification  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402

if sys.argv[1] == "fill":
    user = User.objects.create(username="asha")
    at = datetime(2020, 1, 1, 12, 30, 0, 123456, tzinfo=timezone.utc)
    for number, phone in enumerate(["255694230173", "255694230199"]):
        Verification.objects.create(
            verification_id=f"theirs-{number}", phone=phone, code=1234, verified=number == 1,
            created_at=at, expires_at=at + timedelta(minutes=5), user=user,
        )

rows = Verification.objects.order_by("created_at", "verification_id")
print(json.dumps([
    {
        "id": row.verification_id,
        "phone": row.phone,
        "code": row.code,
        "type": row.verification_type,
        "verified": row.verified,
        "created_at": row.created_at.isoformat(),
        "lives": (row.expires_at - row.created_at).total_seconds(),
        "age": (datetime.now(timezone.utc) - row.created_at).total_seconds(),
        "user": row.user and row.user.username,
    }
    for row in rows
]))
