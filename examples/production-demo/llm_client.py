"""The gateway's address and the caller's identity. Everything comes from the environment, see README.md."""

import functools
import json
import os
import urllib.error
import urllib.parse
import urllib.request

from openai import OpenAI

URL = os.environ.get("LUNER_URL", "http://127.0.0.1:8080").rstrip("/").removesuffix("/v1")
USER = os.environ.get("LUNER_USER", "ana")
TENANT = os.environ.get("LUNER_TENANT", "acme")
AGENT = os.environ.get("LUNER_AGENT", "production-demo")
MODEL = os.environ.get("LUNER_MODEL", "gpt-4o")
SMALL_MODEL = os.environ.get("LUNER_SMALL_MODEL", "gpt-4o-mini")
LIMITED_MODEL = os.environ.get("LUNER_LIMITED_MODEL")  # unset: the tour uses the provider with the lowest limit
ADMIN_TOKEN = os.environ.get("LUNER_ADMIN_TOKEN")
# luner uses the provider's key; the SDK only insists that there is one.
API_KEY = os.environ.get("LUNER_API_KEY", "any")

# Timeout of a call, in seconds. Arbitrary: longer than a slow model takes for a short answer.
TIMEOUT_S = 120


class ApiError(Exception):
    """luner's REST API answered with an error."""

    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


@functools.cache  # keeps the connections open
def openai_client(agent=AGENT, traceparent=None, retries=2):
    """The OpenAI client. Using luner takes a base_url and a few headers."""
    headers = {"X-Luner-User": USER, "X-Luner-Tenant": TENANT, "X-Luner-Agent": agent}
    if traceparent:
        headers["traceparent"] = traceparent
    return OpenAI(base_url=f"{URL}/v1", api_key=API_KEY, default_headers=headers, max_retries=retries, timeout=TIMEOUT_S)


def api(method, path, body=None, **query):
    """Calls luner's REST API. Returns parsed JSON, or text if the answer is not JSON.

    Raises ApiError for an error answer, and OSError if luner cannot be reached.
    """
    url = URL + path + ("?" + urllib.parse.urlencode(query) if query else "")
    headers = {"Content-Type": "application/json"}
    if ADMIN_TOKEN:
        headers["Authorization"] = f"Bearer {ADMIN_TOKEN}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return json.loads(text) if is_json and text else text
    except urllib.error.HTTPError as error:
        with error:
            text = error.read().decode(errors="replace")
        try:
            body = json.loads(text)["error"]
            code, message = body["code"], body["message"]
        except (ValueError, KeyError, TypeError):
            code, message = None, text[:200]
        raise ApiError(error.code, code, message) from None
