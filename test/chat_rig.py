"""A chat endpoint on the loopback interface that answers as good ones and bad ones do."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """What an endpoint was asked."""

    paths: list[str] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)


Answer = Callable[[BaseHTTPRequestHandler], None]


def says(content: object, status: int = 200) -> Answer:
    """An endpoint whose model says `content`."""
    return sends(json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}]}).encode(), status)


def sends(body: bytes, status: int = 200, **headers: str) -> Answer:
    """An endpoint that sends `body`."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    return answer


@contextlib.contextmanager
def endpoint(*answers: Answer, asked: Asked | None = None) -> Iterator[tuple[str, Asked]]:
    """Gives the answers one after another, the last one again and again: its URL, and what it was asked."""
    asked = asked or Asked()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            number = min(len(asked.paths), len(answers) - 1)
            asked.paths.append(self.path)
            asked.keys.append(self.headers["Authorization"])
            asked.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            with contextlib.suppress(ConnectionError):
                answers[number](self)

        do_GET = do_POST

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1", asked
        finally:
            server.shutdown()
            thread.join()


def streams(*deltas: dict[str, Any], end: bytes = b"data: [DONE]\n\n") -> Answer:
    """An endpoint that sends pieces of an answer, then `end`."""
    events = [b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n" for delta in deltas]
    return sends(b": hello\n\n" + b"".join(events) + end, **{"Content-Type": "text/event-stream"})
