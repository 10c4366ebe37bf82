// The OpenAI client for Node through luner: set the baseURL, and headers that name the caller.
import OpenAI from 'openai';

const client = new OpenAI({
  baseURL: `${process.env.LUNER_URL ?? 'http://127.0.0.1:8080'}/v1`,
  apiKey: 'any', // luner adds the provider's key
  defaultHeaders: { 'X-Luner-User': 'ana', 'X-Luner-Tenant': 'acme', 'X-Luner-Agent': 'node' },
});
const model = process.env.LUNER_MODEL ?? 'gpt-4o';
const ask = (content) => ({ model, messages: [{ role: 'user', content }] });

const { data, response } = await client.chat.completions.create(ask('Hello')).withResponse();
console.log(data.choices[0].message.content);
console.log(`${data.usage.total_tokens} tokens, $${response.headers.get('x-luner-cost-usd')}`);

const stream = await client.chat.completions.create({ ...ask('Count to five'), stream: true });
for await (const chunk of stream) process.stdout.write(chunk.choices[0]?.delta?.content ?? '');
console.log();
