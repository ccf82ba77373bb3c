// The SDK for JavaScript over ten turns, with tools, thinking and a picture: a base URL and nothing else. Prints what was said.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: process.env.BASE_URL, apiKey: "sk-client", maxRetries: 0 });
const streams = process.env.STREAMS === "1";
const turns = Number(process.env.TURNS ?? 10);
const tools = [{ name: "look_up", input_schema: { type: "object", properties: { word: { type: "string" } } } }];
const picture = { type: "image", source: { type: "base64", media_type: "image/png", data: "iVBORw0KGgo=" } };
const thinking = process.env.SAYS ? {} : { thinking: { type: "enabled", budget_tokens: 1024 } };
const asked = { model: process.env.MODEL, max_tokens: 4000, tools, ...thinking };
const messages = [];
const said = [];
let last;

async function ask() {
  const body = { ...asked, messages };
  last = streams ? await client.messages.stream(body).finalMessage() : await client.messages.create(body);
  messages.push({ role: "assistant", content: last.content });
  return last;
}

for (let n = 0; n < turns; n++) {
  const words = process.env.SAYS ?? (n % 3 === 1 ? `look up ${n}` : `word ${n}`);
  messages.push({ role: "user", content: n === 2 ? [{ type: "text", text: words }, picture] : words });
  let came = await ask();
  while (came.stop_reason === "tool_use") {
    const calls = came.content.filter((block) => block.type === "tool_use");
    messages.push({ role: "user", content: calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: "an expedient" })) });
    came = await ask();
  }
  said.push(came.content.filter((block) => block.type === "text").map((block) => block.text).join("|"));
}
console.log(JSON.stringify({ said, stop: last.stop_reason, lastresort: last.lastresort ?? null }));
