// An MCP server without auth on the TypeScript SDK v2: 2026-07-28, and older revisions without sessions. PORT: where to listen.
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, McpServer } from '@modelcontextprotocol/server';
import { register } from './tools.mjs';

const mcp = toNodeHandler(createMcpHandler(() => register(new McpServer({ name: 'modern', version: '1.0.0' })), { onerror: error => console.error('mcp:', error.message) }));
createServer((request, response) => (request.url === '/ready' ? response.writeHead(204).end() : mcp(request, response)))
  .listen(Number(process.env.PORT), '127.0.0.1');
