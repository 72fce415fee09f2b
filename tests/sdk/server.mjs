// An MCP server without auth of its own, on the TypeScript SDK v2: 2026-07-28, and older revisions without sessions.
// PORT: where to listen; ASSERTION_FILE: where the last assertion of a caller goes.
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import * as z from 'zod';

const text = value => ({ content: [{ type: 'text', text: typeof value === 'string' ? value : JSON.stringify(value) }] });

// What the gateway said of the caller; of a credential only whether there is one.
function seen(request) {
  const headers = [...(request?.headers ?? [])];
  return {
    identity: Object.fromEntries(headers.filter(([name]) => name.startsWith('x-forwarded-'))),
    authorization: headers.some(([name]) => name === 'authorization'),
  };
}

function build() {
  const server = new McpServer({ name: 'sdk-server', version: '1.0.0' });
  const tool = (name, description, inputSchema, answer, annotations) =>
    server.registerTool(name, { description, inputSchema, annotations }, answer);
  tool('whoami', 'What the server was told of its caller', z.object({}), async (_, context) => text(seen(context.http?.req)), { readOnlyHint: true });
  tool('echo', 'The same again', z.object({ message: z.string() }), async ({ message }) => text(message), { readOnlyHint: true });
  tool('add', 'A sum', z.object({ a: z.number(), b: z.number() }), async ({ a, b }) => text(String(a + b)), { readOnlyHint: true });
  tool('create_invoice', 'Writes', z.object({ amount: z.number() }), async ({ amount }) => text(`invoice over ${amount}`), { destructiveHint: false });
  tool('delete_customer', 'Destroys', z.object({ id: z.string() }), async ({ id }) => text(`customer ${id} is gone`), { destructiveHint: true });
  return server;
}

const mcp = toNodeHandler(createMcpHandler(build, { onerror: error => console.error('mcp:', error.message) }));
createServer((request, response) => {
  if (request.url === '/ready') return response.writeHead(204).end();
  const assertion = request.headers['doorward-assertion'];
  if (assertion && process.env.ASSERTION_FILE) writeFileSync(process.env.ASSERTION_FILE, assertion);
  return mcp(request, response);
}).listen(Number(process.env.PORT), '127.0.0.1', () => console.log(`MCP server at http://127.0.0.1:${process.env.PORT}/mcp`));
