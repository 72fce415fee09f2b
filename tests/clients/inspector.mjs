// The Inspector's command line: each step is a run of its own with the login that the first one stored.
// RESOURCE: what to connect to; PORT: for its callback; HOME: where it keeps its tokens; NODE22: what runs it.
import { spawn } from 'node:child_process';
import { CLIENT_ID, drive, KNOWN, text } from './steps.mjs';

const { RESOURCE, PORT, HOME, NODE22 } = process.env;
const launcher = `${process.cwd()}/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js`;
const known = { dynamic: [], document: ['--client-metadata-url', CLIENT_ID], configured: ['--client-id', CLIENT_ID] }[KNOWN];
const settings = ['--cli', '--transport', 'http', '--server-url', RESOURCE, '--protocol-era', process.argv[2] ?? 'auto', '--format', 'json',
  '--callback-url', `http://127.0.0.1:${PORT}/callback`, ...known];

function run(...step) {
  const env = { ...process.env, HOME, MCP_AUTO_OPEN_ENABLED: 'true', MCP_INSPECTOR_SECRET_STORE: 'file' };
  const child = spawn(NODE22, [launcher, ...settings, ...step], { cwd: HOME, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 60_000 });
  let said = '';
  for (const out of [child.stdout, child.stderr]) out.on('data', data => { said += data; });
  return new Promise((resolve, reject) => child.on('close', () => {
    const line = said.split('\n').filter(one => /^\{"(result|error)"/.test(one)).pop();
    if (!line) return reject(new Error(said.slice(-300)));
    const { result, error } = JSON.parse(line);
    return error ? reject(new Error(error.message)) : resolve(result);
  }));
}

let first;
await drive({
  connect: async () => { first = await run('--method', 'tools/list'); },
  list: async () => first.tools.map(tool => tool.name),
  call: async (name, args) => text(await run('--method', 'tools/call', '--tool-name', name,
    ...Object.entries(args).flatMap(([key, value]) => ['--tool-arg', `${key}=${value}`]))),
});
