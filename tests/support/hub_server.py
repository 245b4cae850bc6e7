"""A small Hugging Face hub in a thread: listings, HEAD and GET of files with ranges, and faults on demand."""

import contextlib
import hashlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Repository:
    """Files by path; those named in ``lfs`` are announced with their SHA-256, as large files are."""

    def __init__(self, files, lfs=(), licence="apache-2.0", gated=False):
        self.files, self.lfs, self.licence, self.gated = dict(files), set(lfs), licence, gated

    @property
    def commit(self):
        listed = repr(sorted((name, hashlib.sha1(data).hexdigest()) for name, data in self.files.items()))
        return hashlib.sha1(listed.encode()).hexdigest()


class HubServer(ThreadingHTTPServer):
    """``repositories`` by id; ``plain`` files by name below ``/files/``; ``requests`` seen so far."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories, self.plain, self.requests = {}, {}, []
        self.cut_after = {}
        """File name → list of numbers: the next answers break off after that many bytes."""
        self.damaged = set()
        """File names whose content arrives with a flipped byte."""
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def gets(self, name):
        """The ranges asked for in GET requests of a file (None: all of it)."""
        return [found for method, path, found in self.requests if method == "GET" and path.endswith(name)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        with contextlib.suppress(OSError):  # the client was killed, or we cut the line ourselves
            super().handle()

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range")))
        parts = path.strip("/").split("/")
        if parts[0] == "files":
            self.send_file(self.server.plain.get(parts[-1]), parts[-1], {})
        elif parts[:2] == ["api", "models"]:
            self.listing("/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif parts[2:3] != ["resolve"]:
            self.send(404, b"", {})
        else:
            self.resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))

    def listing(self, repo, revision):
        found = self.repository(repo, revision)
        if found is None:
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": hashlib.sha1(data).hexdigest(),
                **(
                    {"lfs": {"sha256": _sha256(data), "size": len(data), "pointerSize": 135}}
                    if name in found.lfs
                    else {}
                ),
            }
            for name, data in found.files.items()
        ]
        body = {
            "id": repo,
            "modelId": repo,
            "sha": found.commit,
            "private": False,
            "siblings": siblings,
            "cardData": {"license": found.licence} if found.licence else {},
        }
        self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def resolve(self, repo, revision, name):
        found = self.repository(repo, revision)
        if found is None:
            return
        data = found.files.get(name)
        if data is None:
            self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found.commit})
            return
        etag = _sha256(data) if name in found.lfs else hashlib.sha1(data).hexdigest()
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": found.commit}
        if name in found.lfs:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        self.send_file(data, name, headers)

    def repository(self, repo, revision):
        found = self.server.repositories.get(repo)
        if found is None:
            self.send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif found.gated:
            self.send(403, b"{}", {"X-Error-Code": "GatedRepo"})
            return None
        elif revision not in ("main", found.commit):
            self.send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            return None
        return found

    def send_file(self, data, name, headers):
        if data is None:
            self.send(404, b"", {})
            return
        start, status = 0, 200
        asked = self.headers.get("Range")
        if asked:
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        body = data[start:]
        if name in self.server.damaged and body:
            body = bytes([body[0] ^ 1]) + body[1:]
        cuts = self.server.cut_after.get(name)
        cut = cuts.pop(0) if cuts and self.command == "GET" else None
        self.send(status, body, {**headers, "Accept-Ranges": "bytes"}, cut)

    def send(self, status, body, headers, cut=None):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)


def _sha256(data):
    return hashlib.sha256(data).hexdigest()
