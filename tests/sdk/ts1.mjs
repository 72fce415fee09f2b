// The TypeScript SDK v1: revision 2025-11-25.
import { ClientCredentialsProvider } from '@modelcontextprotocol/sdk/client/auth-extensions.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, credentials, recordingFetch, resource } from './checks.mjs';

await check('TypeScript SDK v1', async () => {
  const client = new Client({ name: 'sdk-test-ts1', version: '1.0.0' });
  const authProvider = new ClientCredentialsProvider(credentials);
  await client.connect(new StreamableHTTPClientTransport(resource, { authProvider, fetch: recordingFetch }));
  return client;
}, { stepsUp: false });  // its client credentials keep to the scope they were made with
