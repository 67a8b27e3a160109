// Talks with one library: node talk.mjs LIBRARY (URL DENIED)...
import { Buffer } from "node:buffer";
import process from "node:process";

const [library, ...urls] = process.argv.slice(2);
const big = Buffer.alloc(5_000_000, "large message "), noise = Buffer.from(Array.from({ length: 70_000 }, (_, i) => (i * i) >> 3));

// standard talks as a browser does, which tells no status of a refusal.
async function standard(open, url, denied) {
  const ws = open(url);
  ws.binaryType = "arraybuffer";
  await new Promise((done, failed) => { ws.onopen = done; ws.onerror = (e) => failed(e.error ?? e.message); });
  const answer = (data) => new Promise((done) => { ws.onmessage = (e) => done(e.data); ws.send(data); });
  console.log("text", await answer("grüße") === "grüße");
  console.log("binary", Buffer.from(await answer(noise)).equals(noise));
  console.log("large", await answer(big.toString()) === big.toString());
  console.log("deflate", ws.extensions.includes("permessage-deflate"));
  console.log("server's ping", await answer("ping"));
  await new Promise((done) => { ws.onclose = (e) => { console.log("close", e.code, e.reason); done(); }; ws.send("close"); });
  await new Promise((done) => { const no = open(denied); no.onopen = () => { console.log("open"); done(); }; no.onerror = () => { console.log("denied"); done(); }; });
}

const by = {
  async ws(url, denied) {
    const { default: WebSocket } = await import("ws");
    const ws = new WebSocket(url, { perMessageDeflate: { threshold: 0 }, maxPayload: 64 << 20 });
    await new Promise((done, failed) => { ws.on("open", done); ws.on("error", failed); });
    const answer = (send) => new Promise((done) => { ws.once("message", (data, binary) => done([data, binary])); send(); });
    let [data, binary] = await answer(() => ws.send("grüße"));
    console.log("text", data.toString() === "grüße" && !binary);
    [data, binary] = await answer(() => ws.send(noise));
    console.log("binary", data.equals(noise) && binary);
    [data] = await answer(() => ws.send(big.toString()));
    console.log("large", data.equals(big));
    console.log("deflate", ws.extensions.includes("permessage-deflate"));
    await new Promise((done) => { ws.once("pong", (p) => { console.log("ping", p.toString()); done(); }); ws.ping("mine"); });
    [data] = await answer(() => ws.send("ping"));
    console.log("server's ping", data.toString());
    await new Promise((done) => { ws.on("close", (code, why) => { console.log("close", code, why.toString()); done(); }); ws.send("close"); });
    await new Promise((done) => new WebSocket(denied).on("unexpected-response", (_, r) => { console.log("denied", r.statusCode); r.resume(); done(); }));
  },
  async undici(url, denied) {
    const { WebSocket, EnvHttpProxyAgent } = await import("undici");
    const dispatcher = new EnvHttpProxyAgent();
    await standard((to) => new WebSocket(to, { dispatcher }), url, denied);
  },
  async global(url, denied) { // the runtime's own
    await standard((to) => new WebSocket(to), url, denied);
  },
};
while (urls.length) await by[library](...urls.splice(0, 2));
process.exit(); // the connection that was refused may be used again
