// A GET over TLS with node's own https module, through a tunnel of the proxy.
const http = require("http"), https = require("https");
const url = new URL(process.argv[2]);
const ask = http.request({ host: "127.0.0.1", port: 18080, method: "CONNECT", path: url.hostname + ":443", headers: { Host: url.hostname + ":443" } });
ask.on("connect", (res, socket) => {
  if (res.statusCode !== 200) throw new Error("CONNECT: " + res.statusCode);
  const agent = new https.Agent();
  agent.createConnection = () => require("tls").connect({ socket, servername: url.hostname });
  const get = https.get(url, { agent }, (r) => {
    r.resume();
    r.on("end", () => { console.log(r.statusCode); socket.destroy(); });
  });
  get.on("error", (e) => { console.error(e); process.exit(1); });
});
ask.end();
