"""A partner's side: receives webhooks, keeps each once, and reads what it was told of. Python alone, no libraries.

    DUEFLOW_URL=https://club.example/graphql DUEFLOW_KEY=df_... DUEFLOW_SECRET=whsec_... python partner.py 8080

Prints a line for each message: its type and what is so now.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

TOLERANCE_SECONDS = 300
LONGEST = 65_536
QUERY = """query ($id: ID!) { node(id: $id) {
  __typename ... on Membership { standing: status user { firstName } }
  ... on Payment { status amount { amount currency } } } }"""


def ask(query: str, **variables: Any) -> Any:
    """A query -> its data. Raises RuntimeError with what is wrong."""
    body = json.dumps({"query": query, "variables": variables}).encode()
    headers = {"authorization": f"Bearer {os.environ['DUEFLOW_KEY']}", "content-type": "application/json"}
    with urlopen(Request(os.environ["DUEFLOW_URL"], body, headers), timeout=20) as answer:
        told = json.load(answer)
    if "errors" in told:
        raise RuntimeError(told["errors"][0]["message"])
    return told["data"]


def verified(body: bytes, headers: Any) -> bool:
    """Whether our endpoint's secret signed this, and lately."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isdigit() or abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        return False
    key = base64.b64decode(os.environ["DUEFLOW_SECRET"].removeprefix("whsec_"))
    wanted = base64.b64encode(hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)).decode()
    offered = [each.partition(",")[2] for each in headers.get("webhook-signature", "").split()]
    return any(hmac.compare_digest(wanted, each) for each in offered)


class Receiver(BaseHTTPRequestHandler):
    """Answers at once; the work is done behind it. A real one keeps ids and messages in a table."""

    seen: set[str] = set()
    work: "Queue[dict[str, Any]]" = Queue()

    def do_POST(self) -> None:
        """Take one message."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), LONGEST))
        genuine = verified(body, self.headers)
        if genuine and self.headers["webhook-id"] not in self.seen:
            self.seen.add(self.headers["webhook-id"])
            self.work.put(json.loads(body))
        self.send_response(204 if genuine else 401)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def work_off(queue: "Queue[dict[str, Any]]") -> None:
    """Read the present of whatever something happened to; a message says what, not how it is now."""
    while True:
        message = queue.get()
        now = [ask(QUERY, id=each)["node"] for name, each in message["data"].items() if name != "userId"]
        print(message["type"], json.dumps(now), flush=True)


if __name__ == "__main__":
    Thread(target=work_off, args=(Receiver.work,), daemon=True).start()
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
