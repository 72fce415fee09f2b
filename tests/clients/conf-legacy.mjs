// The fixtures on the TypeScript SDK v1, with sessions, streams and requests of the server. PORT: where to listen.
import { McpServer, ResourceTemplate } from '@modelcontextprotocol/sdk/server/mcp.js';
import { CompleteRequestSchema, SetLevelRequestSchema, SubscribeRequestSchema, UnsubscribeRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { fixtures } from './fixtures.mjs';
import { serve } from './sessions.mjs';

const means = Object.assign((server, extra) => ({
  log: data => extra.sendNotification({ method: 'notifications/message', params: { level: 'info', data } }),
  progress: params => extra.sendNotification({ method: 'notifications/progress', params: { progressToken: extra._meta?.progressToken ?? 0, ...params } }),
  // On the stream of the call: the session's own may not be open yet.
  sample: params => server.server.createMessage(params, { relatedRequestId: extra.requestId }),
  elicit: params => server.server.elicitInput(params, { relatedRequestId: extra.requestId }),
}), { asks: true, shape: shape => shape });

serve(Number(process.env.PORT), () => {
  const server = new McpServer({ name: 'conformance-legacy', version: '1.0.0' }, { capabilities: { logging: {}, completions: {}, resources: { subscribe: true } } });
  fixtures(server, ResourceTemplate, means);
  const nothing = async () => ({});
  for (const schema of [SetLevelRequestSchema, SubscribeRequestSchema, UnsubscribeRequestSchema]) server.server.setRequestHandler(schema, nothing);
  server.server.setRequestHandler(CompleteRequestSchema, async () => ({ completion: { values: [], total: 0, hasMore: false } }));
  return server;
});
