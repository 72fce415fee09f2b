// Serves an MCP server of the TypeScript SDK v1 with sessions at `port`; `build` makes one for each. `retry`: in how many milliseconds
// a client shall listen again when its stream has ended.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';

export function serve(port, build, retry) {
  const sessions = new Map();

  async function transport(request) {
    const id = request.headers['mcp-session-id'];
    if (id) return sessions.get(id);
    // One that has no session yet refuses all but `initialize`.
    const fresh = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: session => sessions.set(session, fresh),
      onsessionclosed: session => sessions.delete(session),
    });
    await build().connect(fresh);
    return fresh;
  }

  createServer(async (request, response) => {
    if (request.url === '/ready') return response.writeHead(204).end();
    if (request.method === 'GET' && retry) telling(response, `retry: ${retry}\n\n`);
    const found = await transport(request);
    if (found) return found.handleRequest(request, response);
    const error = { jsonrpc: '2.0', id: null, error: { code: -32001, message: 'Session not found' } };
    return response.writeHead(404, { 'content-type': 'application/json' }).end(JSON.stringify(error));
  }).listen(port, '127.0.0.1');
}

// What a stream begins with: the SDK has no say in it.
function telling(response, first) {
  const { writeHead } = response;
  response.writeHead = (status, ...rest) => {
    writeHead.call(response, status, ...rest);
    if (status === 200) response.write(first);
    return response;
  };
}
