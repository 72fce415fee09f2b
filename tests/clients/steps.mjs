// What every client is made to do: connect, list, call, call what a wider scope would open, call what nothing opens. It tells
// what it saw in one line of JSON; whether that is right is judged by whoever started it.
export const text = result => {
  if (result.isError) throw new Error(result.content?.[0]?.text ?? 'an error');
  return result.content[0].text;
};

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
  const done = await step('connect', client.connect);
  if (done) {
    told.revision = client.revision?.();
    await step('list', client.list);
    await step('call', () => client.call('echo', { message: 'hello' }));
    await step('wider', () => client.call('create_invoice', { amount: 5 }));
    await step('never', () => client.call('delete_customer', { id: '1' }));
    await client.close?.().catch?.(() => {});
  }
  console.log(`\n${JSON.stringify(told)}`);
  process.exit(0);
}
