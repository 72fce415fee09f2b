// The authorization server: oidc-provider, one machine client, ES256 `at+jwt` access tokens for one resource.
// PORT: where to listen. RESOURCE: the only resource tokens are made for.
import { generateKeyPairSync } from 'node:crypto';
import Provider, { errors } from 'oidc-provider';

const { PORT, RESOURCE } = process.env;
const issuer = `http://127.0.0.1:${PORT}`;
const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...key, alg: 'ES256', use: 'sig', kid: 'sdk-1' }] },
  scopes: ['mcp:read', 'mcp:write'],
  clients: ['ts1', 'ts2-auto', 'ts2-legacy', 'py2'].map((name) => ({
    client_id: `sdk-${name}`,
    client_secret: `sdk-${name}-secret`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
    scope: 'mcp:read mcp:write',
    id_token_signed_response_alg: 'ES256',
  })),
  cookies: { keys: ['only for tests'] },
  responseTypes: ['code'],
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  ttl: { ClientCredentials: 300 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (_ctx, resource) => {
        if (resource !== RESOURCE) throw new errors.InvalidTarget();
        return { audience: resource, scope: 'mcp:read mcp:write', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
      },
    },
  },
});

provider.on('server_error', (_ctx, error) => console.error('server error:', error));
provider.on('grant.error', (_ctx, error) => console.error('grant refused:', error.message, error.error_description ?? ''));
provider.listen(Number(PORT), '127.0.0.1', () => console.log(`authorization server at ${issuer}`));
