"""Pictures, tables and an http server that misbehaves, made where a test needs them."""

import csv
import io
import socket
import struct
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image


def encode(image, kind="JPEG", **settings):
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def draw(seed=0, size=(40, 32), mode="RGB"):
    """A picture unlike those of other seeds, with edges that a JPEG keeps."""
    image = Image.new("RGB", size, (seed * 37 % 256, seed * 91 % 256, seed * 53 % 256))
    image.paste((255 - seed % 256, seed // 256, 0), (0, 0, size[0] // 2, size[1] // 3))
    return image.convert(mode)


def write_catalogue(folder, rows=12, **changes):
    """A table of products with a picture each; `changes` are columns to set, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "product_code": [1000 + 10 * row for row in range(rows)],
        "title": [f"Bag {row}" for row in range(rows)],
        "category3_code": ["TOTES" if row % 2 else "BELTS" for row in range(rows)],
        "full_price": [100.0 + row for row in range(rows)],
        "image": [f"pictures/{row}.jpg" for row in range(rows)],
    } | changes
    (folder / "pictures").mkdir(exist_ok=True)
    for row in range(rows):
        (folder / "pictures" / f"{row}.jpg").write_bytes(encode(draw(row)))
    path = folder / "products.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return path


class Site:
    """Answers by path: a function of the request handler each."""

    def __init__(self):
        self.answers = {}
        self.visits = []
        self.closing = threading.Event()
        self.paused = threading.Event()
        self.going_on = threading.Event()
        self.pausing_at = None

    def pause_after(self, visits):
        """Answer no more after so many visits, until told to go on."""
        self.going_on.clear()
        self.pausing_at = visits

    def go_on(self):
        self.pausing_at = None
        self.paused.clear()
        self.going_on.set()

    def say(self, path, body=b"", status=200, **headers):
        def answer(handler):
            handler.send_response(status)
            for name, value in ({"Content_Length": len(body)} | headers).items():
                handler.send_header(name.replace("_", "-"), str(value))
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer

    def hang(self, path):
        self.answers[path] = lambda handler: self.closing.wait(30)

    def drip(self, path):
        def answer(handler):
            handler.send_response(200)
            handler.end_headers()
            while not self.closing.wait(0.05):
                handler.wfile.write(b"\xff")

        self.answers[path] = answer

    def hang_after_head(self, path):
        def answer(handler):
            handler.send_response(200)
            handler.end_headers()
            self.closing.wait(30)

        self.answers[path] = answer

    def trickle(self, path, body, parts, pause_seconds):
        def answer(handler):
            handler.send_response(200)
            handler.end_headers()
            size = len(body) // parts
            for start in range(0, len(body), size):
                handler.wfile.write(body[start : start + size])
                self.closing.wait(pause_seconds)

        self.answers[path] = answer

    def reset(self, path):
        """Break the connection with a reset, without an answer."""

        def answer(handler):
            now = struct.pack("ii", 1, 0)
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
            handler.connection.close()

        self.answers[path] = answer

    def flood(self, path):
        def answer(handler):
            handler.send_response(200)
            handler.end_headers()
            while not self.closing.is_set():
                handler.wfile.write(b"\0" * 4096)

        self.answers[path] = answer

    def fail_first(self, path, body, times=1, status=500, **headers):
        before = []

        def answer(handler):
            before.append(1)
            if len(before) <= times:
                handler.send_response(status)
                for name, value in headers.items():
                    handler.send_header(name.replace("_", "-"), value)
                handler.end_headers()
                return
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer


@contextmanager
def serve(site):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            site.visits.append(self.path)
            if site.pausing_at is not None and len(site.visits) > site.pausing_at:
                site.paused.set()
                site.going_on.wait(60)
            if self.path in site.answers:
                site.answers[self.path](self)
            else:
                self.send_error(404)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_):
            """A client that hangs up is what these tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def backlog_of_none():
    """The URL of a server that takes no connection: those that wait for it fill its queue."""
    with socket.socket() as server, ExitStack() as waiting:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.fixture
def site():
    with serve(Site()) as running:
        yield running
