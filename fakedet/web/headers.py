"""Security headers on every response, and the one method that each REST path accepts."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .responses import method_not_allowed

REST_METHODS = {"/predict": "POST", "/health": "GET", "/model": "GET", "/openapi.json": "GET"}
REST_POLICY = "default-src 'none'; frame-ancestors 'none'"
# The page needs inline code and styles; nothing may come from or go to another host.
PAGE_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'"
)


class Headers:
    """ASGI middleware: adds security headers to all responses and "no-store" to REST; refuses other methods."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        added = security_headers(rest=scope["path"] in REST_METHODS)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                missing = [(name, value) for name, value in added if name not in present]
                message = {**message, "headers": [*message["headers"], *missing]}
            await send(message)

        allowed = REST_METHODS.get(scope["path"], scope["method"])
        app = self.app if scope["method"] == allowed else method_not_allowed(allowed)
        await app(scope, receive, send_with_headers)


def security_headers(rest: bool) -> list[tuple[bytes, bytes]]:
    """The headers of a REST path or of the page, as ASGI writes them."""
    headers = {
        "x-content-type-options": "nosniff",
        "referrer-policy": "same-origin",
        "content-security-policy": REST_POLICY if rest else PAGE_POLICY,
    }
    if rest:
        headers["cache-control"] = "no-store"
    return [(name.encode(), value.encode()) for name, value in headers.items()]
