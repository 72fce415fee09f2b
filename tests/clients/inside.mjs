// Each client at Doorward's own authorization server: people who sign in at a provider, and accounts that are kept here; clients that
// register, that publish a document, and that are configured. Then the token expires, and then everything is revoked.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer as createPlain } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { join } from 'node:path';
import { Browser, answer } from './browser.mjs';
import { clients, driven, passed, run, short, tools } from './clients.mjs';
import { freePorts, gateway, start } from './neighbours.mjs';

// How long an access token lives, in seconds, for how much longer the gateway takes it, and when it is certainly of no use.
const LIFE = 8;
const LEEWAY = 6_000;
const EXPIRED = LIFE * 1_000 + LEEWAY;
const person = { name: 'alice', password: 'a long one that nobody tries' };
const callbacks = ['callback', 'oauth/callback'].flatMap(path => ['127.0.0.1', 'localhost'].map(host => `http://${host}/${path}`));
const kinds = ['registered', 'document', 'configured'];
// Each half of the clients has an upstream of its own: most of their time is waiting.
const halves = [0, 1];
const pause = time => new Promise(done => setTimeout(done, time));
// Until something has come about, for half a minute at most: what is told in the end says whether it mattered.
async function until(what) {
  for (let tries = 0; tries < 300 && !(await what()); tries++) await pause(100);
}
const slug = name => name.toLowerCase().replace(/[^a-z0-9]+/g, '-');
// Of a lane: what happens outside of the client while it runs.
const outside = {};

// The rows; `servers`: what stands behind the gateway of each login.
export async function inside(folder, servers) {
  const [control, documents, provider, bridge] = await freePorts(4);
  const trust = publish(folder, documents);
  createPlain(async (request, response) => {
    const [, lane, when] = request.url.split('/');
    await outside[lane][when]().catch(error => console.log(`FAIL ${lane} ${when}: ${error.message}`));
    response.end();
  }).listen(control, '127.0.0.1');
  const issuer = `http://127.0.0.1:${provider}`;
  await start(folder, 'people', `${issuer}/.well-known/openid-configuration`, 'node', ['as.mjs'], { PORT: provider, FORMAT: 'jwt', CALLBACK: `http://127.0.0.1:${bridge}/doorward/callback` });
  writeFileSync(join(folder, 'bridge-secret'), 'bridge-secret');
  const oidc = { issuer, client_id: 'bridge', client_secret_file: join(folder, 'bridge-secret'), algorithms: ['ES256'], parameters: { prompt: 'consent' }, recheck: '1s' };
  const doors = [
    { login: 'bridge', server: servers.legacy, door: await open(folder, 'bridge', 'bridge', servers.legacy.url, { oidc }, trust, bridge) },
    { login: 'accounts', server: servers.modern, door: await open(folder, 'accounts', 'self_managed', servers.modern.url, { accounts: {} }, trust) },
  ];
  await invite(doors[1].door);
  const lanes = doors.flatMap(door => kinds.flatMap(kind => halves.map(half => (
    { ...door, kind, upstream: `${kind}-${half}`, id: `${door.login}-${kind}-${half}`, mine: driven.filter((_client, at) => at % halves.length === half) }
  ))));
  return (await Promise.all(lanes.map(lane => along(folder, lane, `http://127.0.0.1:${control}/${lane.id}`, `https://127.0.0.1:${documents}`)))).flat();
}

export function inOrder(rows) {
  const order = row => [clients.findIndex(client => client.name === row[0]), row[2] === 'bridge' ? 0 : 1, kinds.indexOf(row[4])];
  return rows.sort((a, b) => order(a).map((one, at) => one - order(b)[at]).find(one => one !== 0) ?? 0);
}

function open(folder, name, ownership, url, login, trust, port) {
  const rules = [{ tools: ['echo', 'add'], scopes: ['mcp:read'] }, { tools: ['create_invoice'], scopes: ['mcp:write'] }];
  const more = {
    store: `sqlite:${join(folder, `${name}.db`)}`,
    authorization_server: {
      login,
      tokens: { access: `${LIFE}s` },
      rate: '1000/s',
      registration: { dynamic: 'open', metadata_documents: 'open', allow_loopback: true, rate: '1000/s' },
      clients: Object.fromEntries(clients.map(client => [slug(client.name), { name: client.name, redirect_uris: callbacks }])),
    },
  };
  const upstreams = Object.fromEntries(kinds.flatMap(kind => halves.map(half => [`${kind}-${half}`, { ownership, url, rules }])));
  return gateway(folder, name, upstreams, { port, more, env: trust });
}

// Documents of clients, at any path; what makes the gateway believe the host.
function publish(folder, port) {
  const file = name => join(folder, name);
  const openssl = (...args) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=tests', '-days', '2');
  writeFileSync(file('leaf.txt'), 'subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n');
  openssl('req', ...key, '-keyout', 'leaf.key', '-out', 'leaf.csr', '-subj', '/CN=documents');
  openssl('x509', '-req', '-in', 'leaf.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-out', 'leaf.pem', '-days', '2', '-extfile', 'leaf.txt');
  createSecure({ key: readFileSync(file('leaf.key')), cert: readFileSync(file('leaf.pem')) }, (request, response) => {
    const client_id = `https://127.0.0.1:${port}${request.url}`;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({
      client_id, client_name: `Table ${request.url.slice(1)}`, redirect_uris: callbacks, token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    }));
  }).listen(port, '127.0.0.1');
  return { SSL_CERT_FILE: file('ca.pem') };
}

// Alice gets a link from the operator, and chooses a password.
async function invite(door) {
  const printed = await door.command('users', 'invite', person.name, '--reason', 'table', '--by', 'table');
  const link = new URL(/\S+\/doorward\/invite\/\S+/.exec(printed)[0]);
  const browser = new Browser();
  const page = await browser.open(link);
  const [to, form] = answer(link, page.status, await page.text(), { ...person, again: person.password });
  const done = await browser.open(to, form);
  if (done.status !== 200) throw new Error(`no account: ${done.status} ${await done.text()}`);
}

async function along(folder, { login, server, door, kind, upstream, id, mine }, control, documents) {
  const rows = [];
  for (const client of mine) {
    const head = [client.name, client.version, login, server.label, kind];
    if (client.cannot?.includes(kind)) {
      rows.push([...head, 'cannot', '–', '–', '–', '–']);
      continue;
    }
    const name = slug(client.name);
    const known = { registered: ['dynamic'], document: ['document', `${documents}/${name}`], configured: ['configured', name] }[kind];
    const marks = { begin: door.audit().length };
    const whose = () => door.audit().slice(marks.begin).findLast(line => line.upstream === upstream && line.client && line.operation.startsWith('tools/'))?.client;
    outside[id] = {
      expired: async () => {
        // Meanwhile its streams end. It opens them again in a while, for which it refreshes.
        marks.expired = door.audit().length;
        // Those of the calls are over then.
        await door.recorded(upstream);
        const streams = await door.streams(upstream);
        await pause(EXPIRED);
        await until(async () => await door.streams(upstream) >= streams);
      },
      revoked: async () => {
        const client = whose();
        // Before: streams end at once, and whoever opens them again hears of it while the command still waits.
        marks.revoked = door.audit().length;
        const command = door.command('revoke', '--client', client, '--reason', 'table', '--by', 'table', '--wait');
        marks.patience = command.then(() => pause(LEEWAY), () => {});
        await command;
      },
      // Tokens of the next seconds are refused too. A person takes longer to agree.
      asked: async () => marks.patience,
    };
    const told = await run(folder, client, door.resource(upstream), {
      tools: { call: tools.call, wider: tools.wider },
      KNOWN: known[0], CLIENT_ID: known[1], CONTROL: control, PERSON: JSON.stringify(person),
    });
    await door.recorded(upstream);
    const who = whose();
    const log = door.audit().map((line, at) => ({ ...line, at })).filter(line => line.at >= marks.begin && (line.upstream === upstream || line.client === who || line.name === who));
    const is = { registered: who?.startsWith('dyn-'), document: who === known[1], configured: who === known[1] }[kind];
    const row = [...head, ...judge(told, log, marks, is)];
    console.log(`${row.slice(5).some(cell => cell.startsWith('no:')) ? '    ' : 'PASS'} ${row.join(' | ')}`);
    if (process.env.VERBOSE) console.log(JSON.stringify(told), JSON.stringify(marks), '\n', log.map(line => `${line.at} ${line.operation} ${line.name} ${line.status} ${line.reason} ${line.client} ${line.upstream}`).join('\n '));
    rows.push(row);
  }
  return rows;
}

function judge(told, log, marks, is) {
  const between = (from, to = Infinity) => log.filter(line => from <= line.at && line.at < to);
  const unlike = (step, what) => `no: ${short(told[step]?.error ?? told[step]?.ok ?? what)}`;
  const redeemed = lines => lines.some(line => line.reason === 'code_redeemed');
  if (!redeemed(between(marks.begin)) || told.connect?.ok === undefined || !is) return [unlike('connect', 'no code was redeemed'), '–', '–', '–', '–'];

  const wider = log.filter(line => line.operation === 'tools/call' && line.name === 'create_invoice');
  const got = wider.some(passed) && told.wider?.ok === 'invoice over 5';
  const asked = wider[0]?.reason === 'insufficient_scope';

  const later = between(marks.expired ?? Infinity, marks.revoked);
  const renewed = later.some(line => line.reason === 'token_refreshed') ? 'yes' : redeemed(later) ? 'signs in again' : 'no: without a token of its own';

  const after = between(marks.revoked ?? Infinity);
  // Whoever refreshes before the call, because the token is about to end, hears it there.
  const seen = after.some(line => (line.status === 401 && line.upstream && line.operation !== 'oauth/token') || line.reason === 'grant_ended');
  const then = told.after?.ok === 'hello' && redeemed(after) ? 'signs in again' : `says: ${short(told.after?.error ?? told.error?.error ?? 'nothing')}`;
  return [
    'yes',
    told.call?.ok === 'hello' ? 'yes' : unlike('call', 'never called'),
    !got && wider.length === 0 && told.wider?.error ? 'not listed, so not asked' : !got ? unlike('wider', 'never called') : asked ? 'yes' : 'had the scope',
    told.later?.ok === 'hello' ? renewed : unlike('later', 'never called'),
    seen ? `yes, ${then}` : `no: ${short(told.after?.ok ?? told.after?.error ?? 'never called')}`,
  ];
}
