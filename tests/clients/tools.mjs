// The tools of both servers. `confirm`: how the server asks the person, who answers with `sure`.
import * as z from 'zod';

const text = value => ({ content: [{ type: 'text', text: value }] });
export const question = {
  message: 'Sure?',
  requestedSchema: { type: 'object', properties: { sure: { type: 'boolean' } }, required: ['sure'] },
};

export function register(server, confirm) {
  const tool = (name, description, inputSchema, answer, annotations) => server.registerTool(name, { description, inputSchema, annotations }, answer);
  tool('echo', 'The same again', z.object({ message: z.string() }), async ({ message }) => text(message), { readOnlyHint: true });
  tool('add', 'A sum', z.object({ a: z.number(), b: z.number() }), async ({ a, b }) => text(String(a + b)), { readOnlyHint: true });
  tool('confirm', 'Asks', z.object({}), async (_args, context) => confirm(context, action => text(`${action}, asked`)));
  tool('create_invoice', 'Writes', z.object({ amount: z.number() }), async ({ amount }) => text(`invoice over ${amount}`), { destructiveHint: false });
  tool('delete_customer', 'Destroys', z.object({ id: z.string() }), async ({ id }) => text(`customer ${id} is gone`), { destructiveHint: true });
  return server;
}
