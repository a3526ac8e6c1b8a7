// A proxy that speaks HTTP/2 to its clients and HTTP/1.1 to the gateway, and a client that has an
// event stream, a poll and a request to mark as read open on one connection. Prints what it has
// received.

import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";

const [gateway, token, after] = process.argv.slice(2);
/** Headers of one connection, which HTTP/2 does not have. */
const OF_CONNECTION = ["connection", "keep-alive", "transfer-encoding"];

setTimeout(() => {
  throw new Error("the gateway has not answered");
}, 30_000);

const proxy = http2.createServer();
proxy.on("stream", (stream, { ":method": method, ":path": path, ...headers }) => {
  const kept = (names) => Object.entries(names).filter(([name]) => !/^:/.test(name));
  const options = { method, headers: Object.fromEntries(kept(headers)) };
  const request = http.request(`http://${gateway}${path}`, options, (response) => {
    const end = kept(response.headers).filter(([name]) => !OF_CONNECTION.includes(name));
    stream.respond({ ":status": response.statusCode, ...Object.fromEntries(end) });
    response.pipe(stream);
  });
  request.on("error", (error) => {
    throw new Error(`${method} ${path}`, { cause: error });
  });
  stream.pipe(request);
});
await once(proxy.listen(0, "127.0.0.1"), "listening");

const session = http2.connect(`http://127.0.0.1:${proxy.address().port}`);
function request(method, path, accept) {
  const authorization = `Bearer ${token}`;
  const headers = { ":method": method, ":path": path, accept, authorization };
  return session.request(headers, { endStream: true }).setEncoding("utf8");
}

async function json(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk;
  return JSON.parse(text);
}

const events = request("GET", `/events?last_event_id=${after}`, "text/event-stream");
let text = "";
events.on("data", (chunk) => (text += chunk));
const frames = () => [...text.matchAll(/^data: (.*)\n\n/gm)].map(([, data]) => JSON.parse(data));
const received = async (count) => {
  while (frames().length < count) await once(events, "data");
};

await received(3);
const [poll, read] = await Promise.all([
  json(request("GET", `/events?after=${after}&wait=1`, "application/json")),
  json(request("POST", `/read?up_to=${after}`, "application/json")),
]);
await received(4);
console.log(JSON.stringify({ frames: frames(), poll, read }));
process.exit();
