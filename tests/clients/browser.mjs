// What a person does with an authorization URL: the browser follows redirects and keeps cookies, the person agrees on Doorward's
// pages and signs in with the account that PERSON names (`{"name", "password"}` in JSON), and takes the time for it that CONTROL
// takes to answer. It ends at the client's callback.
import { fileURLToPath } from 'node:url';

const person = JSON.parse(process.env.PERSON ?? '{}');

export async function browse(start, { visit } = {}) {
  const browser = new Browser();
  let url = new URL(start), form;
  for (let hop = 0; hop < 30; hop++) {
    if (hop > 0 && (url.searchParams.has('code') || url.searchParams.has('error')) && url.origin !== new URL(start).origin && !url.pathname.startsWith('/doorward/')) {
      if (visit) await visited(url);
      return url.searchParams;
    }
    const response = await browser.open(url, form);
    const location = response.headers.get('location');
    if (!location && process.env.CONTROL) await fetch(`${process.env.CONTROL}/asked`);
    [url, form] = location ? [new URL(location, url), undefined] : answer(url, response.status, await response.text());
  }
  throw new Error('too many redirects');
}

// Some clients open the browser first, and then the port at which they are answered: a person is slower.
async function visited(url) {
  for (let tries = 0; ; tries++) {
    try {
      return await (await fetch(url)).text();
    } catch (error) {
      if (error.cause?.code !== 'ECONNREFUSED' || tries === 300) throw error;
      await new Promise(done => setTimeout(done, 100));
    }
  }
}

export class Browser {
  #jar = new Map();

  async open(url, form) {
    const cookie = [...this.#jar].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { accept: 'text/html', ...(cookie ? { cookie } : {}), ...(form ? { origin: new URL(url).origin } : {}) };
    const response = await fetch(url, { redirect: 'manual', headers, ...(form ? { method: 'POST', body: new URLSearchParams(form) } : {}) });
    for (const set of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      if (value === '') this.#jar.delete(name);
      else this.#jar.set(name, value);
    }
    return response;
  }
}

// A page with a form: where it goes, and what a person fills in and presses, which is the first button.
export function answer(url, status, page, known = person) {
  const [, action, form] = /<form method="post" action="([^"]*)">(.*?)<\/form>/s.exec(page) ?? [];
  if (!form) throw new Error(`no way on from ${url.pathname}: ${status} ${page.replace(/<[^>]*>|\s+/g, ' ').slice(0, 300)}`);
  if (/role="alert"/.test(page)) throw new Error(`${url.pathname} says: ${/role="alert">([^<]*)/.exec(page)?.[1]}`);
  const attribute = (tag, name) => new RegExp(` ${name}="([^"]*)"`).exec(tag)?.[1].replaceAll('&amp;', '&');
  const filled = [...form.matchAll(/<input\b[^>]*>/g)].map(([tag]) => {
    const name = attribute(tag, 'name');
    return [name, attribute(tag, 'type') === 'hidden' ? attribute(tag, 'value') : known[name] ?? attribute(tag, 'value') ?? ''];
  });
  const button = /<button\b[^>]*>/.exec(form)?.[0] ?? '';
  if (attribute(button, 'name')) filled.push([attribute(button, 'name'), attribute(button, 'value')]);
  return [new URL(action.replaceAll('&amp;', '&'), url), Object.fromEntries(filled)];
}

// As $BROWSER.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const params = await browse(process.argv[2], { visit: process.argv[3] !== 'print' });
  if (process.argv[3] === 'print') console.log(params.toString());
}
