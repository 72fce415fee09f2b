// The TypeScript SDK v2: revision 2026-07-28; with `legacy` as its argument, 2025-11-25.
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { check, credentials, recordingFetch, resource } from './checks.mjs';

const mode = process.argv[2] ?? 'auto';

await check(`TypeScript SDK v2 (${mode})`, async () => {
  const client = new Client({ name: 'sdk-test-ts2', version: '1.0.0' }, { versionNegotiation: { mode } });
  const authProvider = new ClientCredentialsProvider(credentials);
  await client.connect(new StreamableHTTPClientTransport(resource, { authProvider, fetch: recordingFetch }));
  const version = client.getNegotiatedProtocolVersion();
  if (version !== (mode === 'legacy' ? '2025-11-25' : '2026-07-28')) throw new Error(`the revision is ${version}`);
  return client;
});
