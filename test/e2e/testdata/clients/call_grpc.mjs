// Calls with grpc-js: node call_grpc.mjs HOST:PORT. One line for each call: what a health
// service answers in bytes, or the status of its refusal.
import grpc from "@grpc/grpc-js";

const client = new grpc.Client(process.argv[2], grpc.credentials.createSsl());
const same = (x) => x, nothing = Buffer.alloc(0);
const call = (path) => new Promise((done, failed) => client.makeUnaryRequest(path, same, same, nothing, (e, answer) => (e ? failed(e) : done(answer))));
console.log((await call("/grpc.health.v1.Health/Check")).toString("hex"));
const watch = client.makeServerStreamRequest("/grpc.health.v1.Health/Watch", same, same, nothing);
watch.on("error", () => {}); // it is cancelled
console.log((await new Promise((done) => watch.once("data", done))).toString("hex"));
watch.cancel();
await call("/test.Admin/Delete").catch((e) => console.log(grpc.status[e.code], e.details));
client.close();
