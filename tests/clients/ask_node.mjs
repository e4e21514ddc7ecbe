// Ask a running Bursar through Node's `openai`: one JSON line for each answer.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BURSAR_URL + "/v1", apiKey: process.env.BURSAR_KEY, maxRetries: 0 });
const text = "[[output=6]] How much is owed?";

async function chat(model, stream) {
  const asked = { model, max_completion_tokens: 50, messages: [{ role: "user", content: text }] };
  if (!stream) {
    const answer = await client.chat.completions.create(asked);
    return [answer.choices[0].message.content, answer.usage.completion_tokens];
  }
  const chunks = client.chat.completions.stream({ ...asked, stream_options: { include_usage: true } });
  const answer = await chunks.finalChatCompletion();
  return [answer.choices[0].message.content, (await chunks.totalUsage()).completion_tokens];
}

async function responses(model, stream) {
  const asked = { model, max_output_tokens: 50, input: text };
  const answer = stream
    ? await client.responses.stream(asked).finalResponse()
    : await client.responses.create(asked);
  return [answer.output_text, answer.usage.output_tokens];
}

for (const model of process.argv.slice(2)) {
  for (const [protocol, ask] of Object.entries({ chat, responses })) {
    for (const stream of [false, true]) {
      const [said, tokens] = await ask(model, stream);
      console.log(JSON.stringify({ protocol, model, stream, text: said, tokens }));
    }
  }
}
