// What stands around the gateway: the authorization server, an upstream that tells what it was sent, and the gateway itself.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createListener } from 'node:net';
import { join } from 'node:path';

export async function until(holds, what) {
  const end = Date.now() + 15_000;
  while (!(await holds())) {
    assert.ok(Date.now() < end, `not within 15 s: ${what}`);
    await new Promise(done => setTimeout(done, 50));
  }
}

export async function freePorts(count) {
  const all = Array.from({ length: count }, () => createListener().listen(0, '127.0.0.1'));
  await Promise.all(all.map(one => new Promise(done => one.once('listening', done))));
  const ports = all.map(one => one.address().port);
  await Promise.all(all.map(one => new Promise(done => one.close(done))));
  return ports;
}

const answers = url => fetch(url).then(response => response.ok, () => false);

class Process {
  #child;
  #log = '';

  log() {
    return this.#log;
  }

  async launch(command, args, env, ready) {
    const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.on('data', text => { this.#log += text; });
    child.ended = new Promise(done => child.once('close', done));
    this.#child = child;
    await until(() => child.exitCode !== null || answers(ready), `${command} starts`);
    assert.equal(child.exitCode, null, `${command} ended:\n${this.#log}`);
  }

  async stop() {
    this.#child?.kill();
    await this.#child?.ended;
  }
}

export class Gateway extends Process {
  constructor(folder, name, admin) {
    super();
    this.file = join(folder, `${name}.yaml`);
    this.ready = `http://127.0.0.1:${admin}/readyz`;
  }

  // JSON is YAML.
  start(config) {
    writeFileSync(this.file, JSON.stringify(config));
    return this.launch(process.env.DOORWARD, ['serve', '--config', this.file], {}, this.ready);
  }
}

const kinds = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

export class AuthorizationServer extends Process {
  keys = [];
  generation = 0;

  constructor(port, file, resources, callback) {
    super();
    Object.assign(this, { port, file, resources, callback, issuer: `http://127.0.0.1:${port}` });
  }

  // Restarts with new signing keys, and with or without the old ones published.
  async rotate({ drop = false } = {}) {
    await this.stop();
    this.generation += 1;
    const fresh = Object.entries(kinds).map(([alg, make]) => (
      { ...make().privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${this.generation}` }
    ));
    this.keys = drop ? fresh : [...fresh, ...this.keys];
    writeFileSync(this.file, JSON.stringify(this.keys), { mode: 0o600 });
    const env = { PORT: this.port, KEYS: this.file, RESOURCES: this.resources.join(' '), CALLBACK: this.callback };
    await this.launch(process.execPath, ['as.mjs'], env, `${this.issuer}/.well-known/openid-configuration`);
  }

  #post(path, client, form, headers = {}) {
    const authorization = `Basic ${Buffer.from(`${client}:${client}-secret`).toString('base64')}`;
    return fetch(`${this.issuer}${path}`, { method: 'POST', headers: { authorization, ...headers }, body: new URLSearchParams(form) });
  }

  async token(client, form) {
    const response = await this.#post('/token', client, { grant_type: 'client_credentials', ...form });
    const body = await response.json();
    assert.ok(body.access_token, `no token for ${client}: ${JSON.stringify(body)}`);
    return body.access_token;
  }

  // With the nonce that this server demands in each proof.
  async boundToken(client, form, holder) {
    const ask = async nonce => this.#post('/token', client, { grant_type: 'client_credentials', ...form }, {
      dpop: await holder.proof('POST', `${this.issuer}/token`, { nonce }),
    });
    const first = await ask(undefined);
    assert.equal((await first.json()).error, 'use_dpop_nonce');
    this.nonce = first.headers.get('dpop-nonce');
    const body = await (await ask(this.nonce)).json();
    assert.equal(body.token_type, 'DPoP', JSON.stringify(body));
    return body.access_token;
  }

  async revoke(client, token) {
    assert.equal((await this.#post('/token/revocation', client, { token })).status, 200);
  }
}

export class Upstream {
  seen = [];

  static async start() {
    const upstream = new Upstream();
    upstream.server = createServer(async (request, response) => {
      const parts = [];
      for await (const part of request) parts.push(part);
      upstream.seen.push(request.headers);
      const { id } = JSON.parse(Buffer.concat(parts));
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'complete', content: [{ type: 'text', text: 'done' }] } }));
    });
    await new Promise(done => upstream.server.listen(0, '127.0.0.1', done));
    upstream.url = `http://127.0.0.1:${upstream.server.address().port}/mcp`;
    return upstream;
  }

  stop() {
    this.server.close();
    this.server.closeAllConnections();
  }
}
