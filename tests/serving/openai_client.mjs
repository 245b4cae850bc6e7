// The npm client of OpenAI against a running server: node openai_client.mjs URL PICTURE
// Needs the package openai beside it or above (npm install openai). Prints one line for each thing that works.
import { readFileSync } from "node:fs";
import OpenAI from "openai";

const [base, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${base}/v1`, apiKey: "none", maxRetries: 0 });
const url = `data:image/jpeg;base64,${readFileSync(picture).toString("base64")}`;
const messages = [
  { role: "user", content: [{ type: "image_url", image_url: { url } }, { type: "text", text: "What is this?" }] },
];

const whole = await client.chat.completions.create({ model: "nano", messages });
console.log("chat:", whole.choices[0].message.content, JSON.stringify(whole.usage));

let text = "";
const stream = await client.chat.completions.create({ model: "nano", messages, stream: true });
for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
if (text !== whole.choices[0].message.content) throw new Error(`the stream says ${text}`);
console.log("stream:", text);

const embedded = await client.embeddings.create({ model: "nano", input: ["a dog", "a cat"] });
console.log("embeddings:", embedded.data.length, "x", embedded.data[0].embedding.length);

const response = await client.responses.create({ model: "nano", input: "Who are you?" });
console.log("responses:", response.output_text);

const file = await client.files.create({
  file: new File([readFileSync(picture)], "picture.jpg"), purpose: "user_data",
});
console.log("files:", file.bytes, "bytes;", (await client.files.delete(file.id)).deleted);

try {
  await client.chat.completions.create({ model: "nano", messages, temperature: -1 });
} catch (error) {
  console.log("error:", error.status, error.param);
}
