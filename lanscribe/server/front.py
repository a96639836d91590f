"""What is at / and below /trust: the first that a person with a browser sees of this box."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from lanscribe.server import pages
from lanscribe.server.trust import Trust, routes_without_https

_PATHS = (
    "lanscribe: live speech to text.\n"
    "WebSocket: /v1/realtime   models: /v1/models   health: /health\n"
    "files: /v1/audio/transcriptions   all about HTTP: /docs\n"
)
_HEADERS = {"Vary": "Accept", "Cache-Control": "no-store"}


def routes(trust: Trust | None) -> list[Route]:
    """The routes of the pages. trust: None where https is not served."""
    files = pages.files()

    async def greet(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            origins = trust.origins if trust else []
            # older browsers do not take a WebSocket to where the page came from as 'self'
            sockets = [origin.replace("https:", "wss:", 1) for origin in origins]
            # never 304: a browser would keep the policy that it has, and with it other names
            return files.page.whole(request, pages.policy(*origins, *sockets))
        url = trust and trust.https_url(request.url.hostname or "")
        https = f"https: {url}   how a phone comes to trust it: /trust\n" if url else ""
        return PlainTextResponse(_PATHS + https, headers=_HEADERS)

    below = trust.routes() if trust else routes_without_https()
    return [Route("/", greet), *below, *files.routes()]
