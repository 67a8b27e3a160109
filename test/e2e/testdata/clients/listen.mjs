// Reads server-sent events with fetch's reader and confirms each to the origin before it
// reads on: node listen.mjs URL CONFIRM. The origin sends the next one only then.
const [url, confirm] = process.argv.slice(2);
const answer = await fetch(url);
const text = answer.body.pipeThrough(new TextDecoderStream());
let rest = "";
for await (const chunk of text) {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop();
  for (const line of lines.filter((l) => l.startsWith("data:"))) {
    console.log(line);
    await (await fetch(confirm, { method: "POST" })).text();
  }
}
