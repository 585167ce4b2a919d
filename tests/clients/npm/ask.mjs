// Asks one question on each route with the official client, whole and streamed; prints what was said as JSON.
// Usage: node ask.mjs BASE_URL KEY MODEL QUESTION
import OpenAI from "openai";

const [baseURL, apiKey, model, question] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const said = {};

const chat = { model, temperature: 0, max_tokens: 16, messages: [{ role: "user", content: question }] };
said.chat = (await client.chat.completions.create(chat)).choices[0].message.content;
said.chatStream = "";
for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
  said.chatStream += chunk.choices[0]?.delta?.content ?? "";
}

const asked = { model, temperature: 0, max_output_tokens: 16, input: question };
const whole = await client.responses.create(asked);
said.responses = whole.output_text;
const stream = client.responses.stream(asked);
said.responsesStream = "";
stream.on("response.output_text.delta", (event) => (said.responsesStream += event.delta));
const final = await stream.finalResponse();
said.responsesFinal = final.output.flatMap((item) => item.content ?? []).map((part) => part.text).join("");

const plain = { model, temperature: 0, max_tokens: 4, prompt: "Hello" };
said.completions = (await client.completions.create(plain)).choices[0].text;
try {
  await client.responses.create({ ...asked, background: true });
} catch (error) {
  said.refused = { status: error.status, param: error.param, code: error.code };
}
console.log(JSON.stringify(said));
