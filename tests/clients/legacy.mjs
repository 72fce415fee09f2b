// An MCP server without auth on the TypeScript SDK v1: 2025-11-25 and older, with sessions; it asks on the stream of the call.
// PORT: where to listen. Clients listen again late: whoever is refused signs in, and some take the code of one login for another where
// several begin in the same moment, which two streams and a call would.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { serve } from './sessions.mjs';
import { question, register } from './tools.mjs';

serve(Number(process.env.PORT), () => {
  const server = new McpServer({ name: 'legacy', version: '1.0.0' });
  return register(server, async (extra, say) => say((await server.server.elicitInput(question, { relatedRequestId: extra.requestId })).action));
}, 5_000);
