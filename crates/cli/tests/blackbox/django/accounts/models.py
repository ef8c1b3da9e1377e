"""The model that the pasted package asks for."""
from django.conf import settings
from django.db import models


class Verification(models.Model):
    verification_id = models.CharField(max_length=50, primary_key=True)
    phone = models.CharField(max_length=15)
    code = models.IntegerField(null=True, blank=True)
    verification_type = models.CharField(max_length=20, default="Login")
    verified = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True, blank=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)

    class Meta:
        db_table = "verification"
