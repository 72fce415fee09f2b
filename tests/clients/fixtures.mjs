// What the MCP conformance suite looks for by name, on either SDK. `means` gives what a tool does besides answering, by the SDK's
// own ways: log, progress, and for sessions what the server asks of the client.
import * as z from 'zod';

const PNG = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==';
const WAV = 'UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA=';
const text = value => ({ type: 'text', text: value });
const content = (...blocks) => ({ content: blocks });
const pause = () => new Promise(done => setTimeout(done, 50));

export function fixtures(server, Template, means) {
  const tool = (name, answer, inputSchema = z.object({})) => server.registerTool(name, { description: name, inputSchema }, (args, context) => answer(means(server, context), args, context));
  tool('test_simple_text', () => content(text('This is a simple text response for testing.')));
  tool('test_image_content', () => content({ type: 'image', data: PNG, mimeType: 'image/png' }));
  tool('test_audio_content', () => content({ type: 'audio', data: WAV, mimeType: 'audio/wav' }));
  const embedded = (uri, mimeType, body) => ({ type: 'resource', resource: { uri, mimeType, text: body } });
  tool('test_embedded_resource', () => content(embedded('test://embedded-resource', 'text/plain', 'This is an embedded resource content.')));
  tool('test_multiple_content_types', () => content(text('Multiple content types test:'), { type: 'image', data: PNG, mimeType: 'image/png' },
    embedded('test://mixed-content-resource', 'application/json', '{"test":"data","value":123}')));
  tool('test_error_handling', () => { throw new Error('This tool intentionally returns an error for testing'); });
  tool('test_tool_with_logging', async means => {
    for (const line of ['Tool execution started', 'Tool processing data', 'Tool execution completed']) {
      await means.log(line);
      await pause();
    }
    return content(text('Tool with logging executed successfully'));
  });
  tool('test_tool_with_progress', async means => {
    for (const progress of [0, 50, 100]) {
      await means.progress({ progress, total: 100, message: `Completed step ${progress} of 100` });
      await pause();
    }
    return content(text('Tool with progress executed successfully'));
  });
  if (means.asks) asking(tool);

  const resource = (name, uri, mimeType, body) => server.registerResource(name, uri, { mimeType, description: name }, async () => ({ contents: [{ uri, mimeType, ...body }] }));
  resource('static-text', 'test://static-text', 'text/plain', { text: 'This is the content of the static text resource.' });
  resource('static-binary', 'test://static-binary', 'image/png', { blob: PNG });
  resource('watched-resource', 'test://watched-resource', 'text/plain', { text: 'Watched resource content' });
  server.registerResource('template', new Template('test://template/{id}/data', { list: undefined }), { mimeType: 'application/json', description: 'A template' },
    async (uri, { id }) => ({ contents: [{ uri: uri.href, mimeType: 'application/json', text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${id}` }) }] }));

  const prompt = (name, argsSchema, blocks) => server.registerPrompt(name, { description: name, ...(argsSchema ? { argsSchema } : {}) },
    async args => ({ messages: blocks(args).map(one => ({ role: 'user', content: one })) }));
  prompt('test_simple_prompt', undefined, () => [text('This is a simple prompt for testing.')]);
  prompt('test_prompt_with_arguments', means.shape({ arg1: z.string(), arg2: z.string() }), ({ arg1, arg2 }) => [text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)]);
  prompt('test_prompt_with_embedded_resource', means.shape({ resourceUri: z.string() }), ({ resourceUri }) => [
    embedded(resourceUri, 'text/plain', 'Embedded resource content for testing.'), text('Please process the embedded resource above.')]);
  prompt('test_prompt_with_image', undefined, () => [{ type: 'image', data: PNG, mimeType: 'image/png' }, text('Please analyze the image above.')]);
  return server;
}

// What only a session can do: the server asks, and waits for the answer.
function asking(tool) {
  tool('test_sampling', async (means, { prompt }) => {
    const { content: said } = await means.sample({ messages: [{ role: 'user', content: text(prompt) }], maxTokens: 100 });
    return content(text(`LLM response: ${said.text}`));
  }, z.object({ prompt: z.string() }));
  const elicit = async (means, message, properties, required) => {
    const answer = await means.elicit({ message, requestedSchema: { type: 'object', properties, ...(required ? { required } : {}) } });
    return content(text(`User response: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`));
  };
  tool('test_elicitation', (means, { message }) => elicit(means, message, { response: { type: 'string', description: "User's response" } }, ['response']), z.object({ message: z.string() }));
  tool('test_elicitation_sep1034_defaults', means => elicit(means, 'Please review the defaults', {
    name: { type: 'string', default: 'John Doe' },
    age: { type: 'integer', default: 30 },
    score: { type: 'number', default: 95.5 },
    status: { type: 'string', enum: ['active', 'inactive', 'pending'], default: 'active' },
    verified: { type: 'boolean', default: true },
  }));
}
