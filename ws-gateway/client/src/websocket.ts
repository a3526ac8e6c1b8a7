// The WebSocket transport.

import { SUBPROTOCOL, TOKEN_PREFIX } from "./contract.ts";
import type { OpenTransport } from "./transport.ts";

/** Opens a WebSocket. */
export const webSocket: OpenTransport = (url, token, events) => {
  const socket = new WebSocket(url(), [SUBPROTOCOL, TOKEN_PREFIX + token]);
  socket.onopen = () => events.onAlive?.();
  socket.onmessage = ({ data }) => {
    const frame = parse(data);
    if (frame !== undefined) events.onFrame(frame);
  };
  socket.onclose = ({ code, reason }) => events.onClose(code, reason);
  return {
    name: "websocket",
    send: (message) => socket.send(JSON.stringify(message)),
    close() {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
};

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
