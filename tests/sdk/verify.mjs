// An upstream's check of `Doorward-Assertion` with jose: the lines between the marks stand in docs/upstream-identity.md.
// KEYS, GATEWAY, RESOURCE; ASSERTION_FILE: what an upstream really received.
import { readFileSync } from 'node:fs';
// --- begin
import { createRemoteJWKSet, jwtVerify } from 'jose';

const keys = createRemoteJWKSet(new URL(process.env.KEYS));
const expected = { issuer: process.env.GATEWAY, audience: process.env.RESOURCE, algorithms: ['ES256'], typ: 'doorward-assertion+jwt' };
const caller = async assertion => (await jwtVerify(assertion, keys, expected)).payload;
// --- end

const assertion = readFileSync(process.env.ASSERTION_FILE, 'utf8').trim();
const refused = async (claim, check) => {
  if (await check().then(() => true, () => false)) throw new Error(`${claim} was accepted`);
};
try {
  const who = await caller(assertion);
  if (!who.client_id || !who.sub_id?.iss || who.exp - who.iat > 60) throw new Error(`incomplete: ${Object.keys(who)}`);
  const [head, , signature] = assertion.split('.');
  const forged = Buffer.from(JSON.stringify({ ...who, sub: 'root' })).toString('base64url');
  await refused('a changed payload', () => caller(`${head}.${forged}.${signature}`));
  await refused('no signature', () => caller(`${Buffer.from('{"alg":"none","typ":"doorward-assertion+jwt"}').toString('base64url')}.${forged}.`));
  await refused('another audience', () => jwtVerify(assertion, keys, { ...expected, audience: 'https://other.example' }));
  await refused('another type', () => jwtVerify(assertion, keys, { ...expected, typ: 'at+jwt' }));
  console.log('PASS jose: an assertion verifies, forged ones do not');
} catch (error) {
  console.log(`FAIL jose: ${error.message}`);
  process.exitCode = 1;
}
