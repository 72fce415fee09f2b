// Everything around the clients: authorization servers, MCP servers, the gateway between them, on free ports of 127.0.0.1.
// DOORWARD: the binary. All of it ends with `stop`, and nothing else does.
import { execFile, spawn } from 'node:child_process';
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const started = [];

// None twice, and none of those that the system gives to connections: one could be taken before it is listened at.
const given = new Set();
export async function freePorts(count) {
  const ports = [];
  while (ports.length < count) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    if (given.has(port)) continue;
    const server = createServer();
    const isFree = await new Promise(done => server.once('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)));
    if (!isFree) continue;
    await new Promise(done => server.close(done));
    given.add(port);
    ports.push(port);
  }
  return ports;
}

export async function start(folder, name, ready, command, args, env = {}) {
  const log = join(folder, `${name}.log`);
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  const out = createWriteStream(log);
  child.stdout.pipe(out, { end: false });
  child.stderr.pipe(out, { end: false });
  started.push(child);
  for (let tries = 0; tries < 150 && child.exitCode === null; tries++) {
    const answered = await fetch(ready).then(answer => answer.text().then(() => answer.status < 500), () => false);
    if (answered) return child;
    await new Promise(done => setTimeout(done, 100));
  }
  throw new Error(`${name} did not start: ${readFileSync(log, 'utf8').slice(-1000)}`);
}

export async function stop() {
  for (const child of started) child.kill();
  await Promise.all(started.map(child => child.exitCode !== null || child.signalCode !== null || new Promise(done => child.once('exit', done))));
}

// `upstreams`: name → { url, …, rules }. `more`: what else the configuration says. `shown`: the origin that clients are told, where it
// is another than the one at `port`.
export async function gateway(folder, name, upstreams, { port, shown, more, env } = {}) {
  const [free, admin] = await freePorts(2);
  const listen = port ?? free;
  const origin = shown ?? `http://127.0.0.1:${listen}`;
  const [file, audit] = [join(folder, `${name}.yaml`), join(folder, `${name}.jsonl`)];
  const config = {
    public_url: origin,
    listen: [{ address: `127.0.0.1:${listen}` }],
    admin: { address: `127.0.0.1:${admin}` },
    audit: { file: audit },
    upstreams: Object.fromEntries(Object.entries(upstreams).map(([name, upstream]) => [name, { path: `/${name}/mcp`, ...upstream }])),
    scopes: { 'mcp:read': { text: 'Read' }, 'mcp:write': { text: 'Write', implies: ['mcp:read'] } },
    ...more,
  };
  // Every JSON text is a YAML text.
  writeFileSync(file, JSON.stringify(config, null, 2));
  await start(folder, name, `http://127.0.0.1:${admin}/readyz`, process.env.DOORWARD, ['serve', '--config', file], env);
  const records = lines(audit);
  return {
    port: listen, origin, resource: name => `${origin}/${name}/mcp`,
    audit: records,
    command: (...args) => command([...args, '--config', file], env),
    // Once no more is written of an upstream: records gather for a moment.
    recorded: async upstream => {
      for (let before = -1, now = 0; before !== now; [before, now] = [now, records().filter(line => line.upstream === upstream).length]) await new Promise(done => setTimeout(done, 100));
    },
    // How many answers of an upstream are being streamed.
    streams: async upstream => Number(new RegExp(`^doorward_open_streams\\{upstream="${upstream}"\\} (\\d+)`, 'm').exec(await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text())?.[1] ?? 0),
  };
}

function command(args, env) {
  const options = { env: { ...process.env, ...env }, timeout: 60_000 };
  return new Promise((done, fail) => execFile(process.env.DOORWARD, args, options, (error, out, said) => (error ? fail(new Error(`doorward ${args[0]}: ${said}`)) : done(out))));
}

// All whole lines so far; each is read once.
function lines(file) {
  const all = [];
  let read = 0;
  return () => {
    const fresh = readFileSync(file).subarray(read);
    const end = fresh.lastIndexOf('\n') + 1;
    read += end;
    for (const line of fresh.subarray(0, end).toString().split('\n').filter(Boolean)) all.push(JSON.parse(line));
    return all;
  };
}
