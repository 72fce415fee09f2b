// Everything around the clients: two authorization servers, two MCP servers, the gateway between them, on free ports of
// 127.0.0.1. DOORWARD: the binary. All of it ends with `stop`, and nothing else does.
import { spawn } from 'node:child_process';
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

const started = [];

export async function freePorts(count) {
  const all = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'));
  await Promise.all(all.map(one => new Promise(done => one.once('listening', done))));
  const ports = all.map(one => one.address().port);
  await Promise.all(all.map(one => new Promise(done => one.close(done))));
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
    const answered = await fetch(ready).then(answer => answer.text().then(() => answer.ok), () => false);
    if (answered) return child;
    await new Promise(done => setTimeout(done, 100));
  }
  throw new Error(`${name} did not start: ${readFileSync(log, 'utf8').slice(-1000)}`);
}

export async function stop() {
  for (const child of started) child.kill();
  await Promise.all(started.map(child => child.exitCode !== null || child.signalCode !== null || new Promise(done => child.once('exit', done))));
}

// `upstreams`: name → { url, issuer, rules }; `issuers`: name → what the configuration says of it. `shown`: the origin that clients
// are told, where it is another.
export async function gateway(folder, issuers, upstreams, shown) {
  const [port, admin] = await freePorts(2);
  const origin = shown ?? `http://127.0.0.1:${port}`;
  const config = {
    public_url: origin,
    listen: [{ address: `127.0.0.1:${port}` }],
    admin: { address: `127.0.0.1:${admin}` },
    audit: { file: join(folder, 'audit.jsonl') },
    issuers,
    upstreams: Object.fromEntries(Object.entries(upstreams).map(([name, { issuer, ...upstream }]) => [name, { path: `/${name}/mcp`, issuers: [issuer], ...upstream }])),
    scopes: { 'mcp:read': { text: 'Read' }, 'mcp:write': { text: 'Write', implies: ['mcp:read'] } },
  };
  // Every JSON text is a YAML text.
  writeFileSync(join(folder, 'doorward.yaml'), JSON.stringify(config, null, 2));
  await start(folder, 'doorward', `http://127.0.0.1:${admin}/readyz`, process.env.DOORWARD, ['serve', '--config', join(folder, 'doorward.yaml')]);
  return { port, resource: name => `${origin}/${name}/mcp`, audit: () => lines(join(folder, 'audit.jsonl')) };
}

function lines(file) {
  const text = readFileSync(file, 'utf8');
  return text.slice(0, text.lastIndexOf('\n') + 1).split('\n').filter(Boolean).map(line => JSON.parse(line));
}
