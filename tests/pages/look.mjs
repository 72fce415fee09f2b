// Every page in a real Chromium. A PASS or FAIL line for each claim; pictures in ./shots.
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";
import { passkeys } from "./passkeys.mjs";
import { transpile } from "./strip.mjs";

const axe = readFileSync(new URL("./node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const folder = mkdtempSync(join(tmpdir(), "doorward-pages-"));
const children = [];
let failed = 0;

function claim(holds, what, detail = "") {
  if (!holds) failed += 1;
  console.log(`${holds ? "PASS" : "FAIL"} ${what}${holds || !detail ? "" : `: ${detail}`}`);
}

function start(command, args, env = {}) {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "pipe"] });
  child.said = "";
  child.stderr.on("data", (text) => (child.said += text));
  children.push(child);
  return child;
}

async function eventually(what, probe) {
  for (let left = 300; left > 0; left -= 1) {
    const value = await probe().catch(() => undefined);
    if (value) return value;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`waited in vain for ${what}: ${children.map((child) => child.said).join("\n")}`);
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

/** The client: takes its code on loopback. */
const answers = [];
const client = createServer((request, response) => {
  const url = new URL(request.url, "http://127.0.0.1");
  if (url.pathname === "/cb") answers.push(url);
  response.end("<!doctype html><title>client</title>");
});
await new Promise((done) => client.listen(0, "127.0.0.1", done));
const redirect = `http://127.0.0.1:${client.address().port}/cb`;

const [port, admin, app] = [await freePort(), await freePort(), await freePort()];
const origin = `http://127.0.0.1:${port}`;
const secret = join(folder, "secret");
writeFileSync(secret, "0123456789abcdef0123456789abcdef");
const config = join(folder, "doorward.yaml");
writeFileSync(
  config,
  JSON.stringify({
    public_url: origin,
    listen: [{ address: `127.0.0.1:${port}` }],
    admin: { address: `127.0.0.1:${admin}` },
    audit: { file: join(folder, "audit.jsonl") },
    store: `sqlite:${join(folder, "doorward.db")}`,
    scopes: { "files:read": { text: "Read your files" }, "files:write": { text: "Change your files" } },
    upstreams: {
      files: {
        name: "Acme files",
        path: "/mcp",
        url: "http://127.0.0.1:9/mcp",
        ownership: "bridge",
        rules: [{ tools: ["read_*"], scopes: ["files:read"] }, { tools: ["write_*"], scopes: ["files:write"] }],
      },
    },
    authorization_server: {
      login: { application: { title: "Acme", url: `http://127.0.0.1:${app}/mcp-login`, secret_file: secret } },
      registration: { dynamic: "approval", metadata_documents: "off" },
      clients: { desk: { name: "Desk", redirect_uris: ["http://127.0.0.1/cb", "https://desk.example/cb"] } },
      pages: { title: "Acme tools", contact: "tools@acme.example", translations: { de: join(process.env.DOORWARD_ROOT, "config/texts/de.yaml") } },
    },
  }),
);

const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
function authorize(id, to, more = {}) {
  const asked = { response_type: "code", client_id: id, redirect_uri: to, code_challenge: challenge, code_challenge_method: "S256" };
  return `${origin}/authorize?${new URLSearchParams({ ...asked, scope: "files:read files:write", state: "st", ...more })}`;
}

/** Looks at a page at every width and in both schemes. */
async function look(browser, name, open, scripts = 0) {
  const violations = [];
  for (const [device, width, height] of [["phone", 320, 640], ["desk", 1280, 900]]) {
    for (const scheme of ["light", "dark"]) {
      const context = await browser.createBrowserContext();
      const page = await context.newPage();
      const said = [];
      page.on("console", (message) => ["error", "warn"].includes(message.type()) && !/status of 4\d\d/.test(message.text()) && said.push(message.text()));
      await page.setViewport({ width, height, deviceScaleFactor: 1 });
      await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await open(page);
      await page.screenshot({ path: `shots/${name}-${device}-${scheme}.png`, fullPage: true });
      const facts = await page.evaluate(() => ({
        wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
        scripts: document.scripts.length,
        headings: document.querySelectorAll("h1").length,
        lang: document.documentElement.lang,
        ground: getComputedStyle(document.documentElement).backgroundColor,
      }));
      if (facts.wide) violations.push(`${device}: wider than the screen`);
      if (facts.scripts !== scripts || facts.headings !== 1 || !facts.lang) violations.push(JSON.stringify(facts));
      if ((facts.ground === "rgb(20, 23, 28)") !== (scheme === "dark")) violations.push(`${scheme}: ground ${facts.ground}`);
      await page.evaluate(axe);
      const { violations: found } = await page.evaluate(() => window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }));
      violations.push(...found.map((one) => `${device} ${scheme}: ${one.id} (${one.nodes.map((node) => node.target).join(", ")})`), ...said);
      await context.close();
    }
  }
  claim(violations.length === 0, `${name}: narrow and wide, light and dark, nothing that WCAG 2.2 AA forbids`, [...new Set(violations)].join("; "));
}

/** A whole sign-in with scripts off, by keyboard alone. */
async function signIn(browser, what) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  await page.setJavaScriptEnabled(false);
  await page.goto(authorize("desk", redirect));
  const before = answers.length;
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await eventually("the client's code", async () => answers.length > before && answers.at(-1).searchParams.get("code"));
  const { searchParams: said } = answers.at(-1);
  claim(said.get("state") === "st" && said.get("iss") === origin, `${what}: by keyboard and without scripts a code comes to the client`);
  const form = { grant_type: "authorization_code", client_id: "desk", redirect_uri: redirect, code: said.get("code") };
  const body = new URLSearchParams({ ...form, code_verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" });
  const token = await (await fetch(`${origin}/token`, { method: "POST", body })).json();
  claim(typeof token.access_token === "string", `${what}: the code is good for a token`, JSON.stringify(token));
  const claims = JSON.parse(Buffer.from((token.access_token ?? ".e30").split(".")[1], "base64url"));
  claim(claims.sub === "application|alice" && claims.client_id === "desk", `${what}: the token is Alice's`, JSON.stringify(claims));
  return { context, page };
}

async function main() {
  start(process.env.DOORWARD, ["serve", "--config", config]);
  await eventually("doorward", async () => (await fetch(`http://127.0.0.1:${admin}/readyz`)).ok);
  const env = { DOORWARD_URL: origin, MCP_LOGIN_SECRET_FILE: secret, PORT: String(app) };
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM,
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--no-proxy-server"],
    userDataDir: join(folder, "profile"),
  });
  children.push(browser.process());

  const script = join(folder, "login.mjs");
  writeFileSync(script, transpile(readFileSync(join(process.env.DOORWARD_ROOT, "docs/examples/login.ts"), "utf8")));
  const node = start(process.execPath, [script], env);
  await eventually("login.ts", async () => (await fetch(`http://127.0.0.1:${app}/`, { redirect: "manual" })).status === 502);
  (await signIn(browser, "login.ts")).context.close();
  node.kill();
  await eventually("the port", async () => node.exitCode !== null || node.signalCode !== null);
  start("python3", [join(process.env.DOORWARD_ROOT, "docs/examples/login.py")], env);
  await eventually("login.py", async () => fetch(`http://127.0.0.1:${app}/`, { redirect: "manual" }).then(() => true, (error) => error.cause?.code !== "ECONNREFUSED"));
  const { context, page } = await signIn(browser, "login.py");

  await page.goto(`${origin}/doorward/connected`);
  claim((await page.content()).includes("Desk"), "connected clients: Alice sees Desk");
  const cookies = await context.cookies();
  await context.close();
  const signedIn = async (page) => {
    await page.browserContext().setCookie(...cookies);
    await page.goto(`${origin}/doorward/connected`);
  };

  const body = JSON.stringify({ client_name: "Newcomer", redirect_uris: ["https://new.example/cb"], token_endpoint_auth_method: "none" });
  const registered = await (await fetch(`${origin}/register`, { method: "POST", headers: { "content-type": "application/json" }, body })).json();
  await look(browser, "consent-loopback", (page) => page.goto(authorize("desk", redirect)));
  await look(browser, "consent-web", (page) => page.goto(authorize("desk", "https://desk.example/cb")));
  await look(browser, "consent-german", async (page) => {
    await page.setExtraHTTPHeaders({ "accept-language": "de" });
    await page.goto(authorize("desk", redirect));
  });
  await look(browser, "waiting", (page) => page.goto(authorize(registered.client_id, "https://new.example/cb")));
  await look(browser, "error", (page) => page.goto(authorize("nobody", "https://evil.example/cb")));
  await look(browser, "sign-in", (page) => page.goto(`${origin}/doorward/connected`));
  await look(browser, "connected", signedIn);
  await passkeys({ browser, claim, look, start, eventually, freePort, folder, answers, redirect, challenge });
  await browser.close();
}

await main().catch((error) => claim(false, "the pages could be looked at", error.stack));
const running = children.filter((child) => child && child.exitCode === null && child.signalCode === null);
for (const child of running) child.kill();
client.close();
await Promise.all(running.map((child) => new Promise((done) => child.once("exit", done))));
// Helpers of the browser write to its profile for a moment longer.
if (existsSync(folder)) rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
console.log(failed ? `${failed} failed` : "all hold");
process.exit(failed ? 1 : 0);
