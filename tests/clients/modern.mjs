// An MCP server without auth on the TypeScript SDK v2: 2026-07-28, in which it asks by a result, and older revisions without
// sessions, in which it cannot ask. PORT: where to listen.
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, inputRequired, McpServer } from '@modelcontextprotocol/server';
import { question, register } from './tools.mjs';

const confirm = async ({ mcpReq }, say) => {
  const { sure } = mcpReq.inputResponses ?? {};
  return sure && mcpReq.requestState() === 'asked' ? say(sure.action) : inputRequired({ inputRequests: { sure: inputRequired.elicit(question) }, requestState: 'asked' });
};
const build = () => register(new McpServer({ name: 'modern', version: '1.0.0' }), confirm);
const mcp = toNodeHandler(createMcpHandler(build, { onerror: error => console.error('mcp:', error.message) }));
createServer((request, response) => (request.url === '/ready' ? response.writeHead(204).end() : mcp(request, response)))
  .listen(Number(process.env.PORT), '127.0.0.1');
