// The authorization server: oidc-provider with a client for each way in which tokens differ.
// PORT: where to listen. CALLBACK: where people are sent back to who sign in for a gateway. KEYS: a file with private JWKs, the signing ones first. RESOURCES: what tokens are made for.
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, jwtVerify } from 'jose';
import Provider, { errors } from 'oidc-provider';

const { PORT, KEYS, RESOURCES, CALLBACK } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const resources = RESOURCES.split(' ');
const keys = JSON.parse(readFileSync(KEYS, 'utf8'));
const algorithms = { rs256: 'RS256', ps256: 'PS256', es256: 'ES256', eddsa: 'EdDSA' };
const scope = 'mcp:read mcp:write';
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';

const machine = (client_id, more = {}) => ({
  client_id,
  client_secret: `${client_id}-secret`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
  ...more,
});

// What a token for this resource looks like: by the client that asks.
function server(resource, { clientId }) {
  if (!resources.includes(resource)) throw new errors.InvalidTarget();
  const common = { audience: resource, scope, accessTokenTTL: clientId === 'short' ? 1 : 300 };
  if (clientId.startsWith('opaque')) return { ...common, accessTokenFormat: 'opaque' };
  return { ...common, accessTokenFormat: 'jwt', jwt: { sign: { alg: algorithms[clientId] ?? 'ES256' } } };
}

// A gateway at which people sign in: its bridge.
const bridge = {
  client_id: 'bridge',
  client_secret: 'bridge-secret',
  redirect_uris: [CALLBACK],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  id_token_signed_response_alg: 'ES256',
};
const disabled = new Set();

const provider = new Provider(issuer, {
  jwks: { keys },
  scopes: ['openid', 'offline_access', ...scope.split(' ')],
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  findAccount: (_ctx, accountId) => disabled.has(accountId) ? undefined : {
    accountId,
    claims: () => ({ sub: accountId, name: 'Alice', email: `${accountId}@example.com`, email_verified: true }),
  },
  interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
  clients: [
    bridge,
    ...[...Object.keys(algorithms), 'short', 'opaque'].map(name => machine(name)),
    ...['bound', 'opaque-bound'].map(name => machine(name, { dpop_bound_access_tokens: true })),
    machine('gateway', { grant_types: ['client_credentials', exchange] }),
  ],
  cookies: { keys: ['only for tests'] },
  responseTypes: ['code'],
  enabledJWA: { idTokenSigningAlgValues: Object.values(algorithms) },
  extraTokenClaims: (_ctx, token) => token.actor && { act: { sub: token.actor } },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: (_ctx, client) => client.clientId === 'gateway' },
    revocation: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    resourceIndicators: { enabled: true, useGrantedResource: () => true, getResourceServerInfo: (_ctx, resource, client) => server(resource, client) },
  },
});

// oidc-provider has no token exchange of its own (RFC 8693), but the place for it: the subject stays, the client acts.
async function exchanged(ctx) {
  const { client, params } = ctx.oidc;
  const { payload } = await jwtVerify(params.subject_token, createLocalJWKSet({ keys: keys.map(({ d, p, q, dp, dq, qi, ...open }) => open) }), { issuer, typ: 'at+jwt' })
    .catch(() => { throw new errors.InvalidGrant('subject_token'); });
  const token = new provider.AccessToken({ accountId: payload.sub, client, grantId: 'exchange', gty: 'exchange', scope: params.scope ?? payload.scope });
  token.resourceServer = new provider.ResourceServer(params.resource, server(params.resource, client));
  token.actor = client.clientId;
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: 'Bearer',
    expires_in: token.expiration,
    scope: token.scope,
  };
}
provider.registerGrantType(exchange, exchanged, ['subject_token', 'subject_token_type', 'requested_token_type', 'actor_token', 'actor_token_type', 'audience', 'resource', 'scope']);

// Whoever comes is Alice, and agrees. `/disable/NAME` ends an account.
provider.use(async (ctx, next) => {
  const [, what, name] = ctx.path.split('/');
  if (what === 'disable') {
    disabled.add(name);
    ctx.body = 'disabled';
    return undefined;
  }
  if (what !== 'interaction') return next();
  const { prompt, params } = await provider.interactionDetails(ctx.req, ctx.res);
  if (prompt.name === 'login') {
    ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, { login: { accountId: 'alice' } }));
    return undefined;
  }
  const grant = new provider.Grant({ accountId: 'alice', clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true }));
  return undefined;
});

provider.on('grant.success', ({ oidc }) => console.log('issued', oidc.client.clientId, oidc.params.grant_type));
provider.on('server_error', (_ctx, error) => console.error('server error:', error));
provider.on('grant.error', (_ctx, error) => console.error('grant refused:', error.message, error.error_description ?? ''));
provider.on('introspection.error', (_ctx, error) => console.error('introspection refused:', error.message, error.error_description ?? ''));
provider.listen(Number(PORT), '127.0.0.1', () => console.log(`authorization server at ${issuer}`));
