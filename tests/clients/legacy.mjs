// An MCP server without auth on the TypeScript SDK v1: 2025-11-25 and older, with sessions and their streams. PORT: where to listen.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { serve } from './sessions.mjs';
import { register } from './tools.mjs';

serve(Number(process.env.PORT), () => register(new McpServer({ name: 'legacy', version: '1.0.0' })));
