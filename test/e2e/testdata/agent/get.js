// A GET through the proxy with node's own http module.
const http = require("http");
const url = new URL(process.argv[2]);
http.get({ host: "127.0.0.1", port: 18080, path: url.href, headers: { Host: url.host } }, (res) => {
  let body = "";
  res.on("data", (d) => (body += d));
  res.on("end", () => console.log(res.statusCode, JSON.parse(body).method, JSON.parse(body).path));
});
