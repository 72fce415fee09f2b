// What every client is made to do: connect, list, call, call what a wider scope would open, call what nothing opens, call what asks
// the person. Where CONTROL is named, also a call after the token has expired, and one after all was revoked. It tells what it saw
// in one line of JSON; whether that is right is judged by whoever started it.
//
// TOOLS: `{"call": ["echo", {…}], …}`, the tool and arguments of each step. KNOWN and CLIENT_ID: how the client is known to the
// authorization server. CONTROL: a URL that answers once what its path says has come about.
export const { CONTROL, KNOWN = 'dynamic', CLIENT_ID } = process.env;
const tools = JSON.parse(process.env.TOOLS);

export const text = result => {
  const [block] = result.content ?? [];
  const said = block?.text ?? (block ? `a block of type ${block.type}` : 'nothing');
  if (result.isError) throw new Error(said);
  return said;
};

// What a person answers whom the server asks something: yes, and the least that must be filled in.
export async function accept({ params: { requestedSchema: { properties, required = Object.keys(properties) } } }) {
  const fill = ({ type, enum: all, minimum }) => all?.[0] ?? { boolean: true, string: 'something' }[type] ?? minimum ?? 1;
  return { action: 'accept', content: Object.fromEntries(required.map(name => [name, fill(properties[name])])) };
}

export async function drive(client) {
  const told = {};
  const step = async (name, run) => {
    try {
      told[name] = { ok: (await run()) ?? true };
      return true;
    } catch (error) {
      told[name] = { error: String(error?.message ?? error).slice(0, 300) };
      return false;
    }
  };
  const call = async name => {
    if (tools[name]) await step(name, () => client.call(...tools[name]));
  };
  if (await step('connect', client.connect)) {
    told.revision = client.revision?.();
    await step('list', client.list);
    for (const name of ['call', 'confirm', 'wider', 'never']) await call(name);
    if (CONTROL) {
      for (const [when, name] of [['expired', 'later'], ['revoked', 'after']]) {
        await fetch(`${CONTROL}/${when}`);
        // Whoever is told that it did not work tries once more.
        const again = () => step(name, () => client.call(...tools.call));
        if (!(await again()) && name === 'after') await again();
      }
    }
    await client.close?.().catch?.(() => {});
  }
  console.log(`\n${JSON.stringify(told)}`);
  process.exit(0);
}
