"""A server on this machine in a database's place."""

import contextlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace


class Answers(BaseHTTPRequestHandler):
    """Answers with the server's ``answers[path] = (status, content, stated length or None)``."""

    def do_GET(self):
        self.server.asked.append(self.path)
        self.answer(*self.server.answers.get(self.path, (404, b"Not Found", None)))

    def answer(self, status, content=b"", length=None, **headers):
        self.send_response(status)
        for key, value in {"Content-Length": length or len(content), **headers}.items():
            self.send_header(key, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def bound(handler=Answers):
    """A server that does not run yet, with ``url``, ``answers`` and ``asked``, a list of paths."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    server.daemon_threads, server.answers, server.asked = True, {}, []
    return server


@contextlib.contextmanager
def running(monkeypatch, make=bound):
    """Such a server, to which no proxy leads, and which is asked again without a pause."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pooch.core.time", SimpleNamespace(sleep=lambda seconds: None))
    server = make()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
