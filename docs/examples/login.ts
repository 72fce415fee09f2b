// Sign in to MCP clients with an application's own login: GET /mcp-login?ticket=… and back. Node alone, no packages.
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage } from "node:http";

const doorward: string = process.env.DOORWARD_URL!; // its public_url
const secret: string = readFileSync(process.env.MCP_LOGIN_SECRET_FILE!, "utf8").trim();

interface User {
  subject: string; // never given to another person
  name?: string;
  email?: string;
  groups?: string[];
  claims?: Record<string, unknown>;
}

/** Tells Doorward who signed in; the answer is where to send the browser. */
async function handOver(ticket: string, user: User): Promise<string> {
  const body = JSON.stringify({ ticket, ...user });
  const now = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", secret).update(`${now}.${body}`).digest("base64url");
  const headers = { "Content-Type": "application/json", "Doorward-Timestamp": now, "Doorward-Signature": signature };
  const answer = await fetch(`${doorward}/doorward/hand-off`, { method: "POST", headers, body });
  if (!answer.ok) throw new Error(`hand-off refused: ${answer.status}`);
  return ((await answer.json()) as { continue: string }).continue;
}

/** Whoever is signed in to your application; show your login page first where nobody is. */
function signedInUser(_request: IncomingMessage): User {
  return { subject: "alice", name: "Alice", email: "alice@example.com", groups: ["staff"] };
}

createServer(async (request, response) => {
  const ticket = new URL(request.url ?? "/", "http://localhost").searchParams.get("ticket") ?? "";
  const location = await handOver(ticket, signedInUser(request)).catch(() => undefined);
  response.writeHead(location ? 303 : 502, location ? { Location: location } : {}).end();
}).listen(Number(process.env.PORT ?? 8300), "127.0.0.1");
