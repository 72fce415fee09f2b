// What a person's browser does with an authorization URL: follows redirects, keeps cookies, and ends at the client's callback.
import { fileURLToPath } from 'node:url';

export async function browse(start, { visit } = {}) {
  const jar = new Map();
  let url = new URL(start);
  for (let hop = 0; hop < 20; hop++) {
    if (hop > 0 && (url.searchParams.has('code') || url.searchParams.has('error')) && url.origin !== new URL(start).origin) {
      if (visit) await (await fetch(url)).text();
      return url.searchParams;
    }
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const response = await fetch(url, { redirect: 'manual', headers: { accept: 'text/html', ...(cookie ? { cookie } : {}) } });
    for (const set of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      if (value === '') jar.delete(name);
      else jar.set(name, value);
    }
    const location = response.headers.get('location');
    if (!location) throw new Error(`no way on from ${url.pathname}: ${response.status} ${(await response.text()).slice(0, 200)}`);
    url = new URL(location, url);
  }
  throw new Error('too many redirects');
}

// As $BROWSER.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const params = await browse(process.argv[2], { visit: process.argv[3] !== 'print' });
  if (process.argv[3] === 'print') console.log(params.toString());
}
