// The authorization server: oidc-provider with registration (RFC 7591), one user who is always logged in and grants what is
// asked, refresh tokens, and tokens for resources (RFC 8707). PORT: where to listen. FORMAT: `jwt`, or `opaque` for tokens that
// the gateway must ask about. CALLBACK: where a gateway is answered at which people sign in.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import Provider from 'oidc-provider';

const { PORT, FORMAT, CALLBACK } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
const scopes = ['mcp:read', 'mcp:write'];

// The gateway as a client that people sign in for.
const bridge = CALLBACK ? [{ client_id: 'bridge', client_secret: 'bridge-secret', redirect_uris: [CALLBACK], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] }] : [];

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...key, alg: 'ES256', use: 'sig', kid: 'clients-1' }] },
  scopes: ['openid', 'offline_access', ...scopes],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  clients: [...bridge, { client_id: 'gateway', client_secret: 'gateway-secret', grant_types: ['client_credentials'], redirect_uris: [], response_types: [], id_token_signed_response_alg: 'ES256' }],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  cookies: { keys: ['only for tests'] },
  responseTypes: ['code'],
  pkce: { required: () => true },
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  // SDKs register with the scope of their first challenge; a server that holds them to it cannot be stepped up at.
  extraClientMetadata: { properties: ['any_scope'], validator: (ctx, _name, _value, metadata) => { if (ctx) delete metadata.scope; } },
  issueRefreshToken: (_ctx, client) => client.grantTypeAllowed('refresh_token'),
  expiresWithSession: () => false,
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub, name: 'Alice', email: `${sub}@example.com`, email_verified: true }) }),
  ttl: { AccessToken: 600, ClientCredentials: 600, RefreshToken: 3600, Session: 3600, Interaction: 600, Grant: 3600, IdToken: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (_ctx, client) => client.clientId === 'gateway' },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => ({
        audience: resource,
        scope: scopes.join(' '),
        accessTokenFormat: FORMAT,
        ...(FORMAT === 'jwt' ? { jwt: { sign: { alg: 'ES256' } } } : {}),
      }),
    },
  },
  interactions: { url: (_ctx, interaction) => `${issuer}/interaction/${interaction.uid}` },
  loadExistingGrant: async ctx => {
    const { session, client, params, resourceServers } = ctx.oidc;
    if (!session?.accountId) return undefined;
    const grant = new provider.Grant({ accountId: session.accountId, clientId: client.clientId });
    const asked = (params.scope ?? '').split(' ').filter(Boolean);
    grant.addOIDCScope(asked.join(' '));
    for (const resource of Object.keys(resourceServers ?? {})) grant.addResourceScope(resource, asked.filter(scope => scopes.includes(scope)).join(' '));
    await grant.save();
    return grant;
  },
});

for (const event of ['server_error', 'authorization.error', 'grant.error', 'registration_create.error', 'introspection.error']) {
  provider.on(event, (_ctx, error) => console.error(event, error.message, error.error_description ?? ''));
}
const callback = provider.callback();
createServer(async (request, response) => {
  if (!request.url.startsWith('/interaction/')) return callback(request, response);
  try {
    await provider.interactionFinished(request, response, { login: { accountId: 'alice' }, consent: {} });
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}).listen(Number(PORT), '127.0.0.1', () => console.log(`authorization server at ${issuer}`));
