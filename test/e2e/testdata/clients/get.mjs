// Asks with one library for each URL, one line each: node get.mjs LIBRARY URL...
import process from "node:process";

const [library, ...urls] = process.argv.slice(2);

// said prints the status, and the reason where the body says that firma refused.
function said(status, body) {
  let answer = {};
  try { answer = JSON.parse(body); } catch {}
  console.log(status, answer.denied ? answer.reason : "ok");
}

const by = {
  async axios() {
    const { default: axios } = await import("axios");
    for (const url of urls) {
      const r = await axios.get(url, { validateStatus: null, responseType: "text", transformResponse: (x) => x });
      said(r.status, r.data);
    }
  },
  async got() {
    const { default: got } = await import("got");
    for (const url of urls) {
      const r = await got(url, { throwHttpErrors: false });
      said(r.statusCode, r.body);
    }
  },
  async "got-http2"() {
    const { default: got } = await import("got");
    for (const url of urls) {
      const r = await got(url, { throwHttpErrors: false, http2: true });
      said(r.statusCode, r.body);
    }
  },
  async undici() {
    const { ProxyAgent, request } = await import("undici");
    const dispatcher = new ProxyAgent(process.env.https_proxy);
    for (const url of urls) {
      const r = await request(url, { dispatcher });
      said(r.statusCode, await r.body.text());
    }
    await dispatcher.close();
  },
  async "undici-env"() {
    const { EnvHttpProxyAgent, fetch } = await import("undici");
    const dispatcher = new EnvHttpProxyAgent();
    for (const url of urls) {
      const r = await fetch(url, { dispatcher });
      said(r.status, await r.text());
    }
    await dispatcher.close();
  },
  async fetch() {
    for (const url of urls) {
      const r = await fetch(url);
      said(r.status, await r.text());
    }
  },
  async http2() {
    const { connect } = await import("node:http2");
    const session = connect(new URL(urls[0]).origin);
    for (const url of urls) {
      const stream = session.request({ ":path": new URL(url).pathname });
      let status, body = "";
      stream.on("response", (h) => { status = h[":status"]; });
      for await (const chunk of stream.setEncoding("utf8")) body += chunk;
      said(status, body);
    }
    session.close();
  },
};
await by[library]();
