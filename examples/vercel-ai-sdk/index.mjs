// The Vercel AI SDK through luner: set the baseURL, and headers that name the caller.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { streamText } from 'ai';

const luner = createOpenAICompatible({
  name: 'luner',
  baseURL: `${process.env.LUNER_URL ?? 'http://127.0.0.1:8080'}/v1`,
  headers: { 'X-Luner-User': 'ana', 'X-Luner-Tenant': 'acme', 'X-Luner-Agent': 'vercel-ai-sdk' },
  includeUsage: true,
});

const result = streamText({
  model: luner(process.env.LUNER_MODEL ?? 'gpt-4o'),
  prompt: 'What is a gateway for?',
  // Without this, the text of a stream that fails simply ends.
  onError: ({ error }) => {
    console.error(error);
    process.exitCode = 1;
  },
});
for await (const text of result.textStream) process.stdout.write(text);
const usage = await result.totalUsage;
console.log(`\n${usage.inputTokens} tokens in, ${usage.outputTokens} out`);
