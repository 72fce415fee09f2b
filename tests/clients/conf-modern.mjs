// The fixtures on the TypeScript SDK v2. PORT: where to listen.
import { createServer } from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, inputRequired, acceptedContent, McpServer, ResourceTemplate } from '@modelcontextprotocol/server';
import * as z from 'zod';
import { fixtures } from './fixtures.mjs';

const means = Object.assign((_server, { mcpReq }) => ({
  log: line => mcpReq.log('info', line),
  progress: params => mcpReq.notify({ method: 'notifications/progress', params: { progressToken: mcpReq._meta?.progressToken ?? 0, ...params } }),
}), { shape: shape => z.object(shape) });

// Questions within a result (MCP 2026-07-28 "Multi Round-Trip Requests").
function rounds(server) {
  const say = value => ({ content: [{ type: 'text', text: value }] });
  const ask = (name, type = 'string') => inputRequired.elicit({ message: `Please give ${name}`, requestedSchema: { type: 'object', properties: { [name]: { type } }, required: [name] } });
  const sample = line => inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text: line } }], maxTokens: 50 });
  const tool = (name, answer) => server.registerTool(`test_input_required_result_${name}`, { description: name, inputSchema: z.object({}) }, async (_args, { mcpReq }) => answer(mcpReq, mcpReq.inputResponses ?? {}));
  const need = (inputRequests, requestState) => inputRequired({ inputRequests, ...(requestState ? { requestState } : {}) });
  tool('elicitation', req => {
    const given = acceptedContent(req.inputResponses, 'user_name');
    return given?.name ? say(`Hello, ${given.name}!`) : need({ user_name: ask('name') });
  });
  tool('sampling', (_req, given) => (given.capital_question ? say(`Sampling response: ${given.capital_question.content?.text}`) : need({ capital_question: sample('What is the capital of France?') })));
  tool('list_roots', (_req, given) => (given.client_roots?.roots ? say(`Roots: ${given.client_roots.roots.map(root => root.uri)}`) : need({ client_roots: inputRequired.listRoots() })));
  tool('request_state', req => (acceptedContent(req.inputResponses, 'confirm') && req.requestState() ? say('state-ok') : need({ confirm: ask('ok', 'boolean') }, 'state "1"/\u00e9')));
  tool('multiple_inputs', (req, given) => (acceptedContent(req.inputResponses, 'user_name') && given.greeting && given.client_roots
    ? say(`${given.greeting.content?.text} ${acceptedContent(req.inputResponses, 'user_name').name}`)
    : need({ user_name: ask('name'), greeting: sample('Generate a greeting'), client_roots: inputRequired.listRoots() }, 'all')));
  tool('multi_round', req => {
    if (req.requestState() === 'two') return say(`done: ${acceptedContent(req.inputResponses, 'step2')?.color}`);
    return req.requestState() === 'one' ? need({ step2: ask('color') }, 'two') : need({ step1: ask('name') }, 'one');
  });
  return server;
}

const build = () => rounds(fixtures(new McpServer({ name: 'conformance-modern', version: '1.0.0' }, { capabilities: { logging: {}, completions: {} } }), ResourceTemplate, means));
const mcp = toNodeHandler(createMcpHandler(build, { onerror: error => console.error('mcp:', error.message) }));
createServer((request, response) => (request.url === '/ready' ? response.writeHead(204).end() : mcp(request, response)))
  .listen(Number(process.env.PORT), '127.0.0.1');
