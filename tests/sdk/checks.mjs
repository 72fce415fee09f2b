// What every TypeScript client must find at the door. A client gives how it connects; the rest is here.
import assert from 'node:assert/strict';

export const resource = new URL(process.env.RESOURCE);
export const issuer = process.env.ISSUER;
// Each run is a client of its own: the gateway tells one that asks for the same again and again to stop.
const client = process.env.SDK_CLIENT;
export const credentials = { clientId: client, clientSecret: `${client}-secret`, expectedIssuer: issuer, scope: 'mcp:read' };

// Every exchange in order; never a token.
const exchanges = [];
export async function recordingFetch(input, init) {
  const response = await fetch(input, init);
  exchanges.push({
    method: init?.method ?? 'GET',
    url: String(input?.url ?? input),
    status: response.status,
    challenge: response.headers.get('www-authenticate'),
  });
  return response;
}

function discovery() {
  const [first, second] = exchanges;
  assert.equal(`${first.method} ${first.url} ${first.status}`, `POST ${resource.href} 401`, 'the first request is answered 401');
  const [, metadata] = /^Bearer .*resource_metadata="([^"]+)"/.exec(first.challenge) ?? [];
  assert.ok(metadata, `the challenge names the resource metadata: ${first.challenge}`);
  assert.equal(`${second.method} ${second.url} ${second.status}`, `GET ${metadata} 200`, 'the metadata is fetched from where the challenge says');
  const at = (method, start) => exchanges.findIndex(one => one.method === method && one.url.startsWith(start) && one.status === 200);
  const server = at('GET', `${issuer}/.well-known/`), token = at('POST', `${issuer}/token`), again = at('POST', resource.href);
  assert.ok(1 < server && server < token && token < again, `authorization server metadata, token, then the resource again: ${JSON.stringify(exchanges)}`);
}

// `stepsUp`: whether this SDK asks for the wider scope of a 403 (RFC 6750 §3.1, `insufficient_scope`).
export async function check(name, connect, { stepsUp = true } = {}) {
  try {
    const client = await connect();
    discovery();

    const { tools } = await client.listTools();
    assert.deepEqual(tools.map(tool => tool.name).sort(), ['add', 'echo', 'whoami'], 'the list shows exactly what may be called');

    const sum = await client.callTool({ name: 'add', arguments: { a: 2, b: 40 } });
    assert.equal(sum.content[0].text, '42', 'an allowed call goes through');

    const who = JSON.parse((await client.callTool({ name: 'whoami', arguments: {} })).content[0].text);
    assert.equal(who.authorization, false, 'the client\'s token stays at the door');
    assert.equal(who.identity['x-forwarded-client'], credentials.clientId, 'the server hears who calls');
    assert.equal(who.identity['x-forwarded-user'], undefined, 'a machine is not called a user');

    const before = exchanges.length;
    const invoice = client.callTool({ name: 'create_invoice', arguments: { amount: 5 } });
    if (stepsUp) assert.equal((await invoice).content[0].text, 'invoice over 5', 'a wider token is fetched and the call repeated');
    else await assert.rejects(invoice, 'the call is refused');
    const [challenged] = exchanges.slice(before);
    assert.equal(challenged.status, 403, 'without the scope the call is answered 403');
    assert.match(challenged.challenge, /error="insufficient_scope".*scope="mcp:write"/, 'and the challenge names the scope');
    assert.ok(exchanges.length - before < 10, 'and nobody asks in a loop');

    await assert.rejects(client.callTool({ name: 'delete_customer', arguments: { id: '1' } }), 'what no scope opens is refused');
    const last = exchanges.at(-1);
    assert.equal(`${last.url} ${last.status} ${last.challenge}`, `${resource.href} 403 null`, 'with 403, without a challenge, and once');
    await client.close();
    console.log(`PASS ${name}`);
    process.exit(0);
  } catch (error) {
    console.log(`FAIL ${name}: ${error.message}`);
    process.exit(1);
  }
}
