// The WebSocket transport.

import { SUBPROTOCOL, TOKEN_PREFIX } from "./contract.ts";
import { parse } from "./json.ts";
import type { OpenTransport } from "./transport.ts";

/** Opens a WebSocket. */
export const webSocket: OpenTransport = (url, token, events) => {
  const socket = new WebSocket(url(), [SUBPROTOCOL, TOKEN_PREFIX + token]);
  // `onopen` is no sign of the gateway: a proxy may accept the upgrade and forward no frames.
  socket.onmessage = ({ data }) => {
    const frame = parse(data);
    if (frame !== undefined) events.onFrame(frame);
  };
  socket.onclose = ({ code, reason }) => events.onClose(code, reason);
  return {
    name: "websocket",
    send: (message) => socket.send(JSON.stringify(message)),
    close() {
      socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
};
