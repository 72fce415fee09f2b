// mcp-remote, as a desktop application uses it: messages by standard input and output, the login in $BROWSER.
// RESOURCE: what to connect to; PORT: for its callback; HOME: where it keeps its tokens.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { accept, CLIENT_ID, drive, KNOWN, text } from './steps.mjs';

const { RESOURCE, PORT, HOME } = process.env;
const known = {
  dynamic: [],
  document: ['--client-metadata-url', CLIENT_ID],
  configured: ['--static-oauth-client-info', JSON.stringify({ client_id: CLIENT_ID })],
}[KNOWN];
const transport = new StdioClientTransport({
  command: process.execPath,
  args: ['node_modules/mcp-remote/dist/proxy.js', RESOURCE, PORT, '--allow-http', '--transport', 'http-only', ...known],
  env: { ...process.env, MCP_REMOTE_CONFIG_DIR: HOME },
  stderr: 'ignore',
});
const client = new Client({ name: 'table-desktop', version: '1.0.0' }, { capabilities: { elicitation: { form: {} } } });
client.setRequestHandler(ElicitRequestSchema, accept);
// A login takes its time, and so does a busy machine.
const patience = { timeout: 120_000 };
await drive({
  connect: () => client.connect(transport, patience),
  list: async () => (await client.listTools()).tools.map(tool => tool.name),
  call: async (name, args) => text(await client.callTool({ name, arguments: args }, undefined, patience)),
  close: () => client.close(),
});
