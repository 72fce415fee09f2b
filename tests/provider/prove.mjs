// One PASS or FAIL line for each thing that must hold between Doorward and oidc-provider.
// DOORWARD: the binary.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { Holder } from './holder.mjs';
import { AuthorizationServer, freePorts, Gateway, Upstream, until } from './neighbours.mjs';

const folder = mkdtempSync(join(tmpdir(), 'doorward-provider-'));
const upstream = await Upstream.start();
const [port, admin, second, secondAdmin, asPort, bridgePort, bridgeAdmin] = await freePorts(7);
const origin = `http://127.0.0.1:${port}`, strict = `http://127.0.0.1:${second}`;
const bridge = `http://127.0.0.1:${bridgePort}`;
const at = { plain: `${origin}/mcp`, bound: `${origin}/bound/mcp`, own: `${origin}/own/mcp`, each: `${origin}/each/mcp`, nonce: `${strict}/mcp` };
const as = new AuthorizationServer(asPort, join(folder, 'keys.json'), [...Object.values(at), `${origin}/elsewhere`, upstream.url], `${bridge}/doorward/callback`);
const gateway = new Gateway(folder, 'doorward', admin), strictGateway = new Gateway(folder, 'strict', secondAdmin);
const bridgeGateway = new Gateway(folder, 'bridge', bridgeAdmin);

const rules = [{ name: 'reading', tools: ['read'], scopes: ['mcp:read'] }, { name: 'writing', tools: ['write'], scopes: ['mcp:write'] }];
const asClient = { issuer: as.issuer, client_id: 'gateway', client_secret_file: join(folder, 'secret'), resource: upstream.url };
const issuer = {
  issuer: as.issuer,
  algorithms: ['RS256', 'ES256', 'EdDSA', 'PS256'],
  leeway: '1s',
  keys: { cache: '2s', cooldown: '1s' },
  introspection: { client_id: 'gateway', client_secret_file: join(folder, 'secret'), cache: '1s' },
};
const config = (url, listen, adminPort, more) => ({
  public_url: url,
  listen: [{ address: `127.0.0.1:${listen}` }],
  admin: { address: `127.0.0.1:${adminPort}` },
  issuers: { provider: issuer },
  ...more,
});
const behind = (path, more = {}) => ({ path, url: upstream.url, rules, ...more });

// The status, the challenge and what the upstream received, if it received anything.
let id = 0;
async function call(url, authorization, { tool = 'read', ...headers } = {}) {
  const before = upstream.seen.length;
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json', accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2026-07-28',
      'mcp-method': 'tools/call', 'mcp-name': tool, authorization, ...headers,
    },
    body: JSON.stringify({
      jsonrpc: '2.0', id: ++id, method: 'tools/call',
      params: { name: tool, arguments: {}, _meta: {
        'io.modelcontextprotocol/protocolVersion': '2026-07-28',
        'io.modelcontextprotocol/clientInfo': { name: 'provider-test', version: '1' },
        'io.modelcontextprotocol/clientCapabilities': {},
      } },
    }),
  });
  await response.text();
  return {
    status: response.status,
    challenge: response.headers.get('www-authenticate') ?? '',
    nonce: response.headers.get('dpop-nonce'),
    upstream: upstream.seen[before],
  };
}
const bearer = (url, token, more) => call(url, `Bearer ${token}`, more);

function passes(answer, what) {
  assert.equal(answer.status, 200, `${what}: ${JSON.stringify(answer)}`);
  assert.ok(answer.upstream, `${what}: the upstream is asked`);
  return answer;
}
function refused(answer, status, challenge, what) {
  assert.equal(answer.status, status, `${what}: ${JSON.stringify(answer)}`);
  assert.match(answer.challenge, challenge, `${what}: ${answer.challenge}`);
  assert.equal(answer.upstream, undefined, `${what}: the upstream is not asked`);
}

let failed = 0;
async function prove(claim, proof) {
  try {
    await proof();
    console.log(`PASS ${claim}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${claim}: ${error.message}`);
  }
}

async function run() {
  writeFileSync(join(folder, 'secret'), 'gateway-secret\n', { mode: 0o600 });
  await as.rotate();
  await gateway.start(config(origin, port, admin, {
    upstreams: {
      plain: behind('/mcp'),
      bound: behind('/bound/mcp', { require_dpop: true }),
      own: behind('/own/mcp', { credential: { client_credentials: { ...asClient, scopes: ['mcp:read'] } } }),
      each: behind('/each/mcp', { credential: { token_exchange: asClient } }),
    },
  }));
  await strictGateway.start(config(strict, second, secondAdmin, { dpop: { nonce: true }, upstreams: { plain: behind('/mcp') } }));
  writeFileSync(join(folder, 'bridge-secret'), 'bridge-secret\n', { mode: 0o600 });
  await bridgeGateway.start({
    public_url: bridge,
    listen: [{ address: `127.0.0.1:${bridgePort}` }],
    admin: { address: `127.0.0.1:${bridgeAdmin}` },
    store: `sqlite:${join(folder, 'bridge.db')}`,
    authorization_server: {
      login: { oidc: {
        issuer: as.issuer, client_id: 'bridge', client_secret_file: join(folder, 'bridge-secret'), algorithms: ['ES256'],
        parameters: { prompt: 'consent' }, recheck: '1s',
      } },
      registration: { dynamic: 'open', metadata_documents: 'off' },
    },
    upstreams: { files: behind('/mcp', { ownership: 'bridge', identity: { headers: { 'X-User': 'subject', 'X-Email': 'claims.email' } } }) },
  });
  await prove('bridge: a person signs in at the provider, the client gets tokens of the gateway, and a disabled person no more', bridged);
  for (const algorithm of ['RS256', 'PS256', 'ES256', 'EdDSA']) await prove(`JWT ${algorithm}`, () => jwt(algorithm));
  await prove('a JWT that has expired', expired);
  await prove('a JWT for another resource, and the line that says what to change', audience);
  await prove('opaque tokens, by introspection, until they are revoked', opaque);
  await prove('DPoP: a bound token passes with a proof, and with nothing else', dpop);
  await prove('DPoP: nonces of the authorization server and of the gateway', nonces);
  await prove('DPoP: an opaque bound token', opaqueBound);
  await prove('DPoP: require_dpop', requireDpop);
  await prove('client credentials: the upstream gets the gateway\'s own token', own);
  await prove('token exchange: the upstream gets one token for each caller', each);
  await prove('keys: a rotation by restart costs no call', rotation);
  await prove('keys: tokens of a removed key are refused after keys.cache', removal);
}

// A browser that follows everything but the way to the client, and keeps cookies by port.
async function browse(jar, url, form) {
  for (;;) {
    const { host, origin: at } = new URL(url);
    jar[host] ??= {};
    const cookie = Object.entries(jar[host]).map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { cookie, ...(form && { origin: at, 'content-type': 'application/x-www-form-urlencoded' }) };
    const answer = await fetch(url, { method: form ? 'POST' : 'GET', headers, body: form && new URLSearchParams(form), redirect: 'manual' });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      jar[host][name] = value;
    }
    const to = answer.headers.get('location');
    if (!to) return { status: answer.status, text: await answer.text() };
    url = new URL(to, url).href;
    form = undefined;
    if (url.startsWith('https://client.example/')) return { url: new URL(url) };
  }
}

async function bridged() {
  const redirect_uri = 'https://client.example/cb';
  const json = { method: 'POST', headers: { 'content-type': 'application/json' } };
  const body = JSON.stringify({ client_name: 'Real', redirect_uris: [redirect_uri], token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'] });
  const { client_id } = await (await fetch(`${bridge}/register`, { ...json, body })).json();
  const jar = {};
  const asked = { response_type: 'code', client_id, redirect_uri, code_challenge_method: 'S256', state: 's', resource: `${bridge}/mcp`, scope: 'mcp:read' };
  const query = new URLSearchParams({ ...asked, code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM' });
  const page = await browse(jar, `${bridge}/authorize?${query}`);
  assert.equal(page.status, 200, page.text);
  const [, ticket] = /name="ticket" value="([^"]+)"/.exec(page.text);
  const back = await browse(jar, `${bridge}/doorward/consent`, { ticket, allow: 'oidc' });
  assert.equal(back.url?.searchParams.get('iss'), bridge, JSON.stringify(back));
  const token = async form => {
    const answer = await fetch(`${bridge}/token`, { method: 'POST', body: new URLSearchParams({ client_id, ...form }) });
    return { status: answer.status, ...await answer.json() };
  };
  const verifier = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
  const first = await token({ grant_type: 'authorization_code', code: back.url.searchParams.get('code'), redirect_uri, code_verifier: verifier });
  assert.equal(first.status, 200, JSON.stringify(first));
  const { upstream: received } = passes(await bearer(`${bridge}/mcp`, first.access_token), 'a call of Alice');
  assert.deepEqual([received['x-user'], received['x-email']], ['alice', 'alice@example.com']);
  await new Promise(done => setTimeout(done, 2_100));
  const second = await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token });
  assert.equal(second.status, 200, JSON.stringify(second));
  await fetch(`${as.issuer}/disable/alice`);
  await new Promise(done => setTimeout(done, 2_100));
  const third = await token({ grant_type: 'refresh_token', refresh_token: second.refresh_token });
  assert.deepEqual([third.status, third.error], [400, 'invalid_grant']);
}

async function jwt(algorithm) {
  const token = await as.token(algorithm.toLowerCase(), { resource: at.plain, scope: 'mcp:read' });
  assert.equal(decodeProtectedHeader(token).alg, algorithm);
  const { upstream: received } = passes(await bearer(at.plain, token), 'a permitted call');
  assert.ok(!JSON.stringify(received).includes(token.split('.')[2]), 'the token stays at the door');
  refused(await bearer(at.plain, token, { tool: 'write' }), 403, /error="insufficient_scope".*scope="mcp:write mcp:read"/, 'a call without the scope');
  refused(await bearer(at.plain, token, { tool: 'other' }), 403, /^$/, 'a call without a rule');
  const [head, payload, signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  const widened = Buffer.from(JSON.stringify({ ...claims, scope: 'mcp:read mcp:write' })).toString('base64url');
  refused(await bearer(at.plain, `${head}.${widened}.${signature}`), 401, /error="invalid_token"/, 'a changed token');
  passes(await bearer(at.plain, await as.token(algorithm.toLowerCase(), { resource: at.plain, scope: 'mcp:write' }), { tool: 'write' }), 'with the scope');
}

async function expired() {
  const token = await as.token('short', { resource: at.plain, scope: 'mcp:read' });
  await until(async () => (await bearer(at.plain, token)).status === 401, 'a token of 1 s with 1 s of leeway ends');
  refused(await bearer(at.plain, token), 401, /error="invalid_token"/, 'and stays so');
}

async function audience() {
  const token = await as.token('es256', { resource: `${origin}/elsewhere`, scope: 'mcp:read' });
  refused(await bearer(at.plain, token), 401, /error="invalid_token"/, 'another resource\'s token');
  await until(() => gateway.log().includes('the client must ask with `resource`'), 'the log says what to change');
}

async function opaque() {
  const ask = (resource, scope) => as.token('opaque', { resource, scope });
  const token = await ask(at.plain, 'mcp:read');
  assert.ok(!token.includes('.'), 'no JWT');
  const { upstream: received } = passes(await bearer(at.plain, token), 'a permitted call');
  assert.ok(!JSON.stringify(received).includes(token), 'the token stays at the door');
  refused(await bearer(at.plain, token, { tool: 'write' }), 403, /error="insufficient_scope"/, 'a call without the scope');
  refused(await bearer(at.plain, await ask(`${origin}/elsewhere`, 'mcp:read')), 401, /error="invalid_token"/, 'another resource\'s token');
  refused(await bearer(at.plain, `${token.slice(0, -1)}~`), 401, /error="invalid_token"/, 'a guessed token');
  await as.revoke('opaque', token);
  await until(async () => (await bearer(at.plain, token)).status === 401, 'a revoked token ends with introspection.cache');
}

async function dpop() {
  const holder = await Holder.make(), stranger = await Holder.make();
  const token = await as.boundToken('bound', { resource: at.plain, scope: 'mcp:read' }, holder);
  const by = (proof, more) => call(at.plain, `DPoP ${token}`, { dpop: proof, ...more });
  const once = await holder.proof('POST', at.plain, { token });
  const { upstream: received } = passes(await by(once), 'with a proof');
  assert.ok(!received.authorization && !received.dpop, 'token and proof stay at the door');
  const bad = /^DPoP .*error="invalid_dpop_proof"/;
  refused(await by(once), 401, bad, 'the same proof again');
  const wrong = {
    'another URL': holder.proof('POST', `${origin}/other`, { token }),
    'the address behind the door': holder.proof('POST', upstream.url, { token }),
    'another method': holder.proof('GET', at.plain, { token }),
    'no ath': holder.proof('POST', at.plain, {}),
    'another token\'s ath': holder.proof('POST', at.plain, { token: 'other' }),
    'another key': stranger.proof('POST', at.plain, { token }),
    'an old proof': holder.proof('POST', at.plain, { token, iat: Math.floor(Date.now() / 1000) - 400 }),
    'an early proof': holder.proof('POST', at.plain, { token, iat: Math.floor(Date.now() / 1000) + 400 }),
  };
  for (const [what, proof] of Object.entries(wrong)) refused(await by(await proof), 401, bad, what);
  const [one, two] = [await holder.proof('POST', at.plain, { token }), await holder.proof('POST', at.plain, { token })];
  refused(await by(`${one}, ${two}`), 401, bad, 'two proofs');
  refused(await call(at.plain, `DPoP ${token}`), 401, bad, 'no proof');
  refused(await bearer(at.plain, token), 401, /error="invalid_/, 'as a bearer token');
  refused(await bearer(at.plain, token, { dpop: await holder.proof('POST', at.plain, { token }) }), 401, /error="invalid_/, 'as a bearer token beside a proof');
  const unbound = await as.token('es256', { resource: at.plain, scope: 'mcp:read' });
  refused(await call(at.plain, `DPoP ${unbound}`, { dpop: await holder.proof('POST', at.plain, { token: unbound }) }), 401, /error="invalid_/, 'an unbound token as DPoP');
}

async function nonces() {
  const holder = await Holder.make();
  const token = await as.boundToken('bound', { resource: at.nonce, scope: 'mcp:read' }, holder);
  const by = async (nonce) => call(at.nonce, `DPoP ${token}`, { dpop: await holder.proof('POST', at.nonce, { token, nonce }) });
  const first = await by(undefined);
  refused(first, 401, /^DPoP .*error="use_dpop_nonce"/, 'without a nonce');
  const passed = passes(await by(first.nonce), 'with the nonce');
  passes(await by(passed.nonce), 'with the next one');
  refused(await by('invented'), 401, /error="use_dpop_nonce"/, 'with an invented one');
  refused(await by(as.nonce), 401, /error="use_dpop_nonce"/, 'with the authorization server\'s');
}

async function opaqueBound() {
  const holder = await Holder.make();
  const token = await as.boundToken('opaque-bound', { resource: at.plain, scope: 'mcp:read' }, holder);
  passes(await call(at.plain, `DPoP ${token}`, { dpop: await holder.proof('POST', at.plain, { token }) }), 'with a proof');
  refused(await bearer(at.plain, token), 401, /error="invalid_/, 'as a bearer token');
}

async function requireDpop() {
  const holder = await Holder.make();
  refused(await bearer(at.bound, await as.token('es256', { resource: at.bound, scope: 'mcp:read' })), 401, /DPoP /, 'an unbound token');
  const token = await as.boundToken('bound', { resource: at.bound, scope: 'mcp:read' }, holder);
  passes(await call(at.bound, `DPoP ${token}`, { dpop: await holder.proof('POST', at.bound, { token }) }), 'a bound one');
}

// What the upstream was shown, verified as it would do it.
async function shown(url, client) {
  const token = await as.token(client, { resource: url, scope: 'mcp:read' });
  const { upstream: received } = passes(await bearer(url, token), client);
  assert.ok(!JSON.stringify(received).includes(token.split('.').at(-1)), 'the caller\'s token stays at the door');
  const given = received.authorization.replace('Bearer ', '');
  const { payload } = await jwtVerify(given, createRemoteJWKSet(new URL(`${as.issuer}/jwks`)), { issuer: as.issuer, audience: upstream.url, typ: 'at+jwt' });
  return payload;
}

async function own() {
  for (const client of ['es256', 'rs256', 'opaque']) {
    const payload = await shown(at.own, client);
    assert.equal(`${payload.sub} ${payload.client_id} ${payload.scope}`, 'gateway gateway mcp:read');
  }
  assert.equal(as.log().split('issued gateway client_credentials').length - 1, 1, 'asked for once, for all callers');
}

async function each() {
  for (const client of ['es256', 'rs256']) {
    const payload = await shown(at.each, client);
    assert.equal(`${payload.sub} ${payload.client_id} ${payload.act.sub}`, `${client} gateway gateway`);
  }
  refused(await bearer(at.each, await as.token('opaque', { resource: at.each, scope: 'mcp:read' })), 502, /^$/, 'a token that cannot be exchanged there');
}

async function rotation() {
  const ask = () => as.token('rs256', { resource: at.plain, scope: 'mcp:read' });
  const old = await ask();
  const answers = { 200: 0 };
  let restarting = true;
  const caller = (async () => {
    while (restarting) {
      const { status } = await bearer(at.plain, old);
      answers[status] = (answers[status] ?? 0) + 1;
      await new Promise(done => setTimeout(done, 20));
    }
  })();
  await as.rotate();
  const fresh = await ask();
  assert.notEqual(decodeProtectedHeader(fresh).kid, decodeProtectedHeader(old).kid);
  const back = Date.now();
  await until(async () => (await bearer(at.plain, fresh)).status === 200, 'a token of a new key passes');
  assert.ok(Date.now() - back < 3_000, `within 2 s of the server's return, the distance of fetches: ${Date.now() - back} ms`);
  await until(() => answers[200] > 60, 'calls go on');
  restarting = false;
  await caller;
  assert.deepEqual(Object.keys(answers), ['200'], `no call fails: ${JSON.stringify(answers)}`);
}

async function removal() {
  const ask = () => as.token('es256', { resource: at.plain, scope: 'mcp:read' });
  const old = await ask();
  passes(await bearer(at.plain, old), 'before');
  await as.rotate({ drop: true });
  const removed = Date.now();
  await until(async () => (await bearer(at.plain, old)).status === 401, 'a removed key\'s token ends');
  const took = Date.now() - removed;
  assert.ok(took < 6_000, `within keys.cache and a fetch: ${took} ms`);
  refused(await bearer(at.plain, old), 401, /error="invalid_token"/, 'and stays so');
  passes(await bearer(at.plain, await ask()), 'the new key\'s');
}

try {
  await run();
} catch (error) {
  failed += 1;
  console.log(`FAIL to start: ${error.stack}`);
} finally {
  if (failed) console.log(`--- authorization server:\n${as.log().slice(-3000)}\n--- doorward:\n${gateway.log().slice(-6000)}\n${strictGateway.log().slice(-2000)}\n${bridgeGateway.log().slice(-4000)}`);
  await Promise.all([gateway.stop(), strictGateway.stop(), bridgeGateway.stop(), as.stop()]);
  upstream.stop();
  rmSync(folder, { recursive: true });
}
process.exit(failed ? 1 : 0);
