// Streams a message with Anthropic's own SDK and prints each piece of text as it comes.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [, , packages, baseURL] = process.argv;
const entry = createRequire(packages + "/").resolve("@anthropic-ai/sdk");
const { default: Anthropic } = await import(pathToFileURL(entry));

const client = new Anthropic({ baseURL, apiKey: "placeholder", maxRetries: 0 });
const stream = client.messages.stream({
  model: "claude-example",
  max_tokens: 16,
  messages: [{ role: "user", content: "Say hello." }],
});
stream.on("text", (text) => console.log(text));
const message = await stream.finalMessage();
console.log(message.stop_reason);
