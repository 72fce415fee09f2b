// The TypeScript SDKs: `v1`, `v2`, or `v2 legacy`. RESOURCE: what to connect to.
import { browse } from './browser.mjs';
import { accept, CLIENT_ID, drive, KNOWN, text } from './steps.mjs';

const [sdk, mode = 'auto'] = process.argv.slice(2);
const { Client, StreamableHTTPClientTransport, UnauthorizedError, ElicitRequestSchema = 'elicitation/create' } = sdk === 'v1'
  ? {
    ...await import('@modelcontextprotocol/sdk/client/index.js'),
    ...await import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    ...await import('@modelcontextprotocol/sdk/client/auth.js'),
    ...await import('@modelcontextprotocol/sdk/types.js'),
  }
  : await import('@modelcontextprotocol/client');

const redirectUrl = 'http://127.0.0.1:8765/callback';
const kept = KNOWN === 'configured' ? { client: { client_id: CLIENT_ID } } : {};
let page;
const authProvider = {
  redirectUrl,
  clientMetadata: {
    client_name: `table ${sdk} ${mode}`, redirect_uris: [redirectUrl], grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'], token_endpoint_auth_method: 'none',
  },
  ...(KNOWN === 'document' ? { clientMetadataUrl: CLIENT_ID } : {}),
  state: () => 'state',
  clientInformation: () => kept.client,
  saveClientInformation: client => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: tokens => { kept.tokens = tokens; },
  codeVerifier: () => kept.verifier,
  saveCodeVerifier: verifier => { kept.verifier = verifier; },
  discoveryState: () => kept.discovery,
  saveDiscoveryState: discovery => { kept.discovery = discovery; },
  invalidateCredentials: what => {
    for (const name of { all: ['client', 'tokens', 'verifier', 'discovery'] }[what] ?? [what]) delete kept[name];
  },
  // With its verifier: a stream that ends meanwhile begins a login of its own.
  redirectToAuthorization: url => { page = { url, verifier: kept.verifier }; },
};

let client, transport;
async function connect() {
  transport = new StreamableHTTPClientTransport(new URL(process.env.RESOURCE), { authProvider });
  client = new Client({ name: `table-${sdk}`, version: '1.0.0' }, { capabilities: { elicitation: { form: {} } }, ...(sdk === 'v1' ? {} : { versionNegotiation: { mode } }) });
  client.setRequestHandler(ElicitRequestSchema, accept);
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
      const { url, verifier } = page;
      const params = await browse(url);
      page = undefined;
      kept.verifier = verifier;
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
