// The tables of docs/clients-table.md: each real client before each MCP server, with tokens of each authorization server. What
// happened is read from the gateway's own audit log, and held against what the client saw.
//
// DOORWARD: the binary; TABLE: the committed tables, which must be what this run gives, or are written with UPDATE_EXPECTED=1.
// ONLY: names of clients, by commas, for a shorter run; the rows of the others are taken from the tables as they are.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clients, driven, isWhole, npm, passed, pip, run, short, tools } from './clients.mjs';
import { freePorts, gateway, start, stop } from './neighbours.mjs';
import { inOrder, inside } from './inside.mjs';

const python = 'venv-2/bin/python';
const rules = ({ read, tools: { wider, never } }) => [
  { tools: read, scopes: ['mcp:read'] },
  { tools: [wider[0]], scopes: ['mcp:write'] },
  { tools: [never[0]], groups: ['admins'] },
];
const own = { tools, says: { call: 'hello', wider: 'invoice over 5' }, read: ['add', 'confirm', 'echo'] };
// `ready`: a path that answers once the server does.
const servers = {
  modern: { label: `2026-07-28, and older without sessions (TypeScript SDK ${npm('@modelcontextprotocol/server')})`, run: ['node', 'modern.mjs'], ...own },
  legacy: { label: `2025-11-25 and older, sessions (TypeScript SDK ${npm('@modelcontextprotocol/sdk')})`, run: ['node', 'legacy.mjs'], ...own },
  everything: {
    label: `2025-11-25 and older, sessions (everything ${npm('@modelcontextprotocol/server-everything')})`,
    run: ['node', 'everything.mjs'],
    tools: { call: ['echo', { message: 'hello' }], confirm: ['trigger-elicitation-request', {}], wider: ['get-sum', { a: 2, b: 3 }], never: ['get-env', {}] },
    says: { call: 'Echo: hello', wider: 'The sum of 2 and 3 is 5.' },
    read: ['echo', 'trigger-elicitation-request'],
  },
  python: { label: `all, sessions in older ones (Python SDK ${pip('requirements-2', 'mcp')})`, run: [python, 'py_server.py'], ...own },
  fastmcp: { label: `all, sessions in older ones (FastMCP ${pip('requirements-2', 'fastmcp')})`, run: [python, 'fast_server.py'], ...own },
};
const oidc = npm('oidc-provider');
const authorities = { jwt: `oidc-provider ${oidc}, JWT`, opaque: `oidc-provider ${oidc}, opaque` };
const lanes = Object.keys(servers).flatMap(server => (
  (['modern', 'legacy'].includes(server) ? ['jwt', 'opaque'] : ['jwt']).map(authority => ({ authority, server, name: `${authority}-${server}` }))
));

const folder = mkdtempSync(join(tmpdir(), 'doorward-clients-'));
let failed = false;
try {
  const names = Object.keys({ ...servers, ...authorities });
  const free = await freePorts(names.length);
  const ports = Object.fromEntries(names.map((name, at) => [name, free[at]]));
  const at = name => `http://127.0.0.1:${ports[name]}`;
  await Promise.all([
    ...Object.keys(authorities).map(name => start(folder, name, `${at(name)}/.well-known/oauth-authorization-server`, 'node', ['as.mjs'], { PORT: ports[name], FORMAT: name })),
    ...Object.entries(servers).map(([name, { run: [command, ...args] }]) => start(folder, name, `${at(name)}/ready`, command, args, { PORT: ports[name] })),
  ]);
  writeFileSync(join(folder, 'secret'), 'gateway-secret');
  const asked = { client_id: 'gateway', client_secret_file: join(folder, 'secret') };
  const upstreams = lanes.map(({ name, authority, server }) => (
    [name, { issuers: [authority], url: `${at(server)}/mcp`, rules: rules(servers[server]), allow_server_requests: ['elicitation'] }]
  ));
  const issuers = { jwt: { issuer: at('jwt') }, opaque: { issuer: at('opaque'), introspection: asked } };
  const door = await gateway(folder, 'doorward', Object.fromEntries(upstreams), { more: { issuers } });
  const [rows, signed] = await Promise.all([
    Promise.all(lanes.map(lane => along(lane, door, at))),
    inside(folder, { modern: { url: `${at('modern')}/mcp`, label: servers.modern.label }, legacy: { url: `${at('legacy')}/mcp`, label: servers.legacy.label } }),
  ]);
  const orders = [Object.values(servers).map(server => server.label), Object.values(authorities)];
  failed = !settle(document(sorted([...kept(11), ...rows.flat()], orders), inOrder([...kept(10), ...signed])));
} catch (error) {
  console.log(`FAIL table: ${error.stack}`);
  failed = true;
} finally {
  await stop();
  if (process.env.KEEP) console.log(`kept: ${folder}`);
  else rmSync(folder, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);

function sorted(rows, [second, third]) {
  const order = row => [clients.findIndex(client => client.name === row[0]), second.indexOf(row[2]), third.indexOf(row[3])];
  return rows.sort((a, b) => order(a).map((one, at) => one - order(b)[at]).find(one => one !== 0) ?? 0);
}

// One client after the other before one server, so that what the log says of it meanwhile is of this client.
async function along(lane, door, at) {
  const rows = [];
  const server = servers[lane.server];
  for (const client of driven) {
    const before = door.audit().length;
    const told = await run(folder, client, door.resource(lane.name), { tools: server.tools });
    await door.recorded(lane.name);
    const log = door.audit().slice(before).filter(line => line.upstream === lane.name);
    const cells = judge(told, log, server);
    if (cells[4]?.startsWith('no:') && !(await directly(client, `${at(lane.server)}/mcp`, server))) cells[4] = 'nor without Doorward';
    const row = [client.name, client.version, server.label, authorities[lane.authority], ...cells];
    console.log(`${row.slice(4).some(cell => cell.startsWith('no:')) ? '    ' : 'PASS'} ${row.join(' | ')}`);
    if (process.env.VERBOSE) console.log(JSON.stringify(told), '\n', log.map(line => `${line.operation} ${line.name} ${line.status} ${line.reason} ${line.era}`).join('\n '));
    rows.push(row);
  }
  return rows;
}

// Whether a person can be asked by this server through this client where nothing stands between.
async function directly(client, url, { tools: { call, confirm } }) {
  const told = await run(folder, client, url, { tools: { call, confirm } });
  return isAsked(told);
}

function isAsked(told) {
  return /^accept, asked$|provided the requested/.test(told.confirm?.ok ?? '');
}

function judge(told, log, { tools: steps, says, read }) {
  const calls = step => log.filter(line => line.operation === 'tools/call' && line.name === steps[step][0]);
  const lists = log.filter(line => line.operation === 'tools/list' && passed(line));
  const challenged = log.findIndex(line => line.status === 401), found = log.findIndex(line => line.reason === 'metadata');
  const signed = 0 <= challenged && challenged < found && told.connect?.ok !== undefined;
  if (!signed) return ['–', `no: ${short(told.connect?.error ?? 'it did not look for the metadata')}`, '–', '–', '–', '–', '–'];

  // The reference server shows a tool that asks only to those who can be asked.
  const wide = lists[0]?.scopes?.includes('mcp:write');
  const all = new Set([...read, ...(wide ? [steps.wider[0]] : [])]), shown = new Set(told.list?.ok ?? []);
  const listed = [...shown].every(name => all.has(name)) && [...all].every(name => shown.has(name) || name === 'trigger-elicitation-request');

  const questions = calls('confirm').filter(passed);
  const how = questions.some(line => line.era === 'modern') ? questions.length > 1 && 'in rounds' : 'pushed';
  const confirms = isAsked(told) && how ? `yes, ${how}` : `no: ${short(told.confirm?.error ?? told.confirm?.ok ?? 'never called')}`;

  const wider = calls('wider'), [first] = wider;
  const asked = first?.outcome === 'refused' && first.reason === 'insufficient_scope';
  const got = wider.some(passed) && told.wider?.ok === says.wider;
  const ups = !got ? `no: ${short(told.wider?.error ?? 'never called')}` : asked ? 'yes' : 'had the scope';

  const never = calls('never');
  const refused = never.length > 0 && never.length < 4 && never.every(line => line.outcome === 'refused' && line.status === 403) && (told.never ?? told.error)?.error;
  const era = lists.at(-1)?.era ?? '–';
  return [
    told.revision ?? (era === 'modern' ? '2026-07-28' : 'an older one'),
    'yes',
    listed ? 'yes' : `no: ${short(told.list?.ok ?? told.list?.error)}`,
    told.call?.ok === says.call && calls('call').some(passed) ? 'yes' : `no: ${short(told.call?.error ?? 'never called')}`,
    confirms,
    ups,
    never.length === 0 && told.never?.error ? 'not listed, so not asked' : refused ? 'yes' : `no: ${short(told.never?.ok ?? 'never called')}`,
  ];
}

function document(rows, signed) {
  const line = cells => `| ${cells.join(' | ')} |`;
  const table = (head, body) => [line(head), line(head.map(() => '---')), ...body.map(line)];
  return `${[
    '# Which clients work',
    '',
    '<!-- Made by tests/clients/run with UPDATE_EXPECTED=1, which fails when a run gives another table. Do not edit. -->',
    '',
    'Each client was driven, without a change to it, through Doorward: from the first 401 to the metadata, registration, login with PKCE and the token',
    '(*signs in*), to exactly the tools that its scopes open (*lists*), through a call (*calls*), through one in which the server asks the person something',
    '(*is asked*: on a stream, or by a result that the client answers in another round), through a call that needs a wider scope, for which it must log in',
    'again and repeat the call (*steps up*), and to one that nothing opens (*is refused*, with 403 and without a loop). What happened is read from the audit log',
    'and held against what the client saw.',
    '',
    '## With tokens of another authorization server',
    '',
    ...table(['client', 'version', 'MCP server', 'authorization server', 'revision', 'signs in', 'lists', 'calls', 'is asked', 'steps up', 'is refused'], rows),
    '',
    '*nor without Doorward*: the same client at the same server does not get through this either where nothing stands between.',
    '*had the scope*: the client asks for all scopes of the metadata at its first login. *not asked*: it calls nothing that its list does not show.',
    'The TypeScript SDK v1 does not step up where it has a refresh token: it uses that for the same scopes again. Ask for enough in the first challenge.',
    '',
    "## With Doorward's own tokens",
    '',
    `A person agrees on Doorward's page and signs in, at oidc-provider ${oidc} (*bridge*) or with a password of an account kept here (*accounts*).`,
    'The client registers (*registered*, RFC 7591), publishes what it is (*document*), or stands in the configuration. Then its access token expires and it calls',
    'again (*refreshes*), and `doorward revoke --client` ends what it has: the next call gets 401, or the next refresh `invalid_grant` (*is revoked*, and what the client does then). Such a revocation',
    'refuses what was issued before it and nothing else, however soon the client signs in again.',
    '',
    ...table(['client', 'version', 'login', 'MCP server', 'known as', 'signs in', 'calls', 'steps up', 'refreshes', 'is revoked'], signed),
    '',
    '*cannot*: the client has no such way. mcp-remote listens with two streams. Where both are refused in the same moment it begins two logins, and may take the code of one',
    'for the other (`verifier_mismatch` in the audit log): the older server here asks its clients to wait for 5 s before they listen again (`retry:`).',
  ].join('\n')}\n`;
}

// The rows of clients that are not driven in this run: of the table with so many columns.
function kept(columns) {
  if (isWhole) return [];
  const rows = readFileSync(process.env.TABLE, 'utf8').split('\n').map(line => line.slice(2, -2).split(' | '));
  return rows.filter(row => row.length === columns && clients.some(client => client.name === row[0] && !driven.includes(client)));
}

function settle(now) {
  const file = process.env.TABLE;
  if (process.env.UPDATE_EXPECTED === '1') {
    writeFileSync(file, now);
    return true;
  }
  const old = readFileSync(file, 'utf8').split('\n'), fresh = now.split('\n');
  if (now === old.join('\n')) {
    console.log(`PASS table: ${file} is what this run gives`);
    return true;
  }
  for (const gone of old.filter(line => !fresh.includes(line))) console.log(`- ${gone}`);
  for (const come of fresh.filter(line => !old.includes(line))) console.log(`+ ${come}`);
  console.log(`FAIL table: ${file} is not what this run gives; UPDATE_EXPECTED=1 tests/clients/run writes it anew`);
  return false;
}
