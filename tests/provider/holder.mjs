// A client that holds a key, and shows it by DPoP proofs (RFC 9449).
import { createHash, randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';

export class Holder {
  static async make() {
    const holder = new Holder(), pair = await generateKeyPair('ES256');
    holder.key = pair.privateKey;
    holder.jwk = await exportJWK(pair.publicKey);
    return holder;
  }

  proof(htm, htu, { token, nonce, iat }) {
    const ath = token && createHash('sha256').update(token).digest('base64url');
    const claims = JSON.parse(JSON.stringify({ htm, htu, ath, nonce, jti: randomUUID() }));
    return new SignJWT(claims).setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: this.jwk }).setIssuedAt(iat).sign(this.key);
  }
}
