// The native API by the types that `openapi-typescript` makes of its description: what does not fit them does not compile.
import createClient from "openapi-fetch";
import type { paths } from "./generated/native_api.js";

const client = createClient<paths>({ baseUrl: process.env.SERVICE_URL!, headers: { "lastresort-key": process.env.SERVICE_KEY!, "x-api-key": "sk-upstream" } });

const begun = await client.POST("/api/v1/conversations", { body: { account: "user-17" } });
const branch = begun.data!.branch;
const said = await client.POST("/api/v1/branches/{branch}/turns", {
  params: { path: { branch } },
  body: { content: "Hello.", answer: true },
});
if (said.data === undefined || typeof said.data === "string" || !("text" in said.data)) throw new Error("no answer");
const why = await client.GET("/api/v1/branches/{branch}/why", { params: { path: { branch }, query: { ground: "last_resort" } } });
const ended = await client.POST("/api/v1/branches/{branch}/endings", { params: { path: { branch } }, body: { category: "abuse" } });
const refused: string[] = ended.data && "refused" in ended.data ? ended.data.refused.map((one) => one.rule) : [];
const unknown = await client.GET("/api/v1/branches/{branch}", { params: { path: { branch: "nobody" } } });
// @ts-expect-error there is no such verdict
await client.POST("/api/v1/branches/{branch}/judgements", { params: { path: { branch } }, body: { verdict: "rude" } });
// @ts-expect-error who acts follows from the key
await client.POST("/api/v1/branches/{branch}/redirections", { params: { path: { branch } }, body: { by: "model" } });

console.log(JSON.stringify({
  text: said.data.text,
  rules: why.data!.in_the_way.map((one) => one.rule),
  refused,
  unknown: unknown.error?.status,
}));
