// The TypeScript SDKs: `v1`, `v2`, or `v2 legacy`. RESOURCE: what to connect to.
import { browse } from './browser.mjs';
import { drive, text } from './steps.mjs';

const [sdk, mode = 'auto'] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = sdk === 'v1'
  ? {
    ...await import('@modelcontextprotocol/sdk/client/index.js'),
    ...await import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    ...await import('@modelcontextprotocol/sdk/client/auth.js'),
  }
  : await import('@modelcontextprotocol/client');

const redirectUrl = 'http://127.0.0.1:8765/callback';
const kept = {};
let page;
const authProvider = {
  redirectUrl,
  clientMetadata: {
    client_name: `table ${sdk}`, redirect_uris: [redirectUrl], grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'], token_endpoint_auth_method: 'none',
  },
  state: () => 'state',
  clientInformation: () => kept.client,
  saveClientInformation: client => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: tokens => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: verifier => { kept.verifier = verifier; },
  discoveryState: () => kept.discovery,
  saveDiscoveryState: discovery => { kept.discovery = discovery; },
  redirectToAuthorization: url => { page = url; },
};

let client, transport;
async function connect() {
  transport = new StreamableHTTPClientTransport(new URL(process.env.RESOURCE), { authProvider });
  client = new Client({ name: `table-${sdk}`, version: '1.0.0' }, sdk === 'v1' ? {} : { versionNegotiation: { mode } });
  await client.connect(transport);
}

// These SDKs leave it to their host to wait for the user: it finishes the login and tries again.
async function again(step) {
  for (let logins = 0; ; logins++) {
    try {
      return await step();
    } catch (error) {
      const wanted = [error, error?.cause, error?.data?.cause].some(one => one instanceof UnauthorizedError);
      if (!wanted || !page || logins > 3) throw error;
      const params = await browse(page);
      page = undefined;
      await transport.finishAuth(sdk === 'v1' ? params.get('code') : params);
      if (step !== connect) await connect();
    }
  }
}

await drive({
  connect: () => again(connect),
  revision: () => client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
  list: () => again(async () => (await client.listTools()).tools.map(tool => tool.name)),
  call: (name, args) => again(async () => text(await client.callTool({ name, arguments: args }))),
  close: async () => {
    await transport.terminateSession?.().catch(() => {});
    await client.close();
  },
});
