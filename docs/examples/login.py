"""Sign in to MCP clients with an application's own login: GET /mcp-login?ticket=… and back. Standard library only."""
import base64, hashlib, hmac, json, os, time, urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

DOORWARD = os.environ["DOORWARD_URL"]  # its public_url
SECRET = open(os.environ["MCP_LOGIN_SECRET_FILE"], "rb").read().strip()


def hand_over(ticket, user):
    """Tells Doorward who signed in; the answer is where to send the browser."""
    body = json.dumps({"ticket": ticket, **user}).encode()
    now = str(int(time.time()))
    tag = hmac.new(SECRET, now.encode() + b"." + body, hashlib.sha256).digest()
    headers = {
        "Content-Type": "application/json",
        "Doorward-Timestamp": now,
        "Doorward-Signature": base64.urlsafe_b64encode(tag).rstrip(b"=").decode(),
    }
    request = urllib.request.Request(DOORWARD + "/doorward/hand-off", body, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)["continue"]


def signed_in_user(request):
    """Whoever is signed in to your application; show your login page first where nobody is."""
    return {"subject": "alice", "name": "Alice", "email": "alice@example.com", "groups": ["staff"]}


class Login(BaseHTTPRequestHandler):
    def do_GET(self):
        ticket = parse_qs(urlparse(self.path).query).get("ticket", [""])[0]
        location = hand_over(ticket, signed_in_user(self))
        self.send_response(303)
        self.send_header("Location", location)
        self.end_headers()


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8300"))), Login).serve_forever()
