// A WebSocket server of the library ws: node serve.mjs MODULES PORT [CERT KEY].
// It sends back what it is sent, as it was, but for text that asks for something:
// "ping" is answered after the client's pong, "close" ends with code 4001.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as createSecure } from "node:https";
import { createRequire } from "node:module";

const [modules, port, cert, key] = process.argv.slice(2);
const { WebSocketServer } = createRequire(modules + "/")("ws");
const server = cert ? createSecure({ cert: readFileSync(cert), key: readFileSync(key) }) : createServer();
const sockets = new WebSocketServer({ server, maxPayload: 64 << 20, perMessageDeflate: { threshold: 0 } });
sockets.on("connection", (ws) => {
  ws.on("message", (data, binary) => {
    switch (binary ? "" : data.toString()) {
      case "ping":
        ws.once("pong", (payload) => ws.send("pong " + payload));
        return ws.ping("from the server");
      case "close":
        return ws.close(4001, "as asked");
      default:
        ws.send(data, { binary });
    }
  });
});
server.listen(Number(port), "127.0.0.1", () => console.log("ready"));
