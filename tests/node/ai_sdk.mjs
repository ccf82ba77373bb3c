// The AI SDK with its provider for Anthropic over ten turns, with a tool and a picture. Prints what was said.
import { createAnthropic } from "@ai-sdk/anthropic";
import { generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const anthropic = createAnthropic({ baseURL: `${process.env.BASE_URL}/v1`, apiKey: "sk-client" });
const streams = process.env.STREAMS === "1";
const turns = Number(process.env.TURNS ?? 10);
const tools = {
  look_up: tool({ inputSchema: z.object({ word: z.string() }), execute: async () => "an expedient" }),
};
const messages = [];
const said = [];
let reason;

for (let n = 0; n < turns; n++) {
  const words = process.env.SAYS ?? (n % 3 === 1 ? `look up ${n}` : `word ${n}`);
  const picture = { type: "image", image: "iVBORw0KGgo=", mediaType: "image/png" };
  messages.push({ role: "user", content: n === 2 ? [{ type: "text", text: words }, picture] : words });
  const asked = { model: anthropic(process.env.MODEL), messages, tools, stopWhen: stepCountIs(5), maxRetries: 0 };
  const came = streams ? streamText(asked) : await generateText(asked);
  if (streams) await came.consumeStream();
  messages.push(...(await came.response).messages);
  said.push(await came.text);
  reason = await came.finishReason;
}
console.log(JSON.stringify({ said, stop: reason }));
