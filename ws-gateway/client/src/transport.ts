// The boundary between the reconnect loop and what carries frames.

import type { ClientMessage } from "./contract.ts";

/** What carries frames. */
export type TransportName = "websocket" | "event_stream" | "long_poll";

/** What a transport reports; nothing after it was closed by `close()`. */
export interface TransportEvents {
  /** A frame of the gateway, parsed but not validated. */
  onFrame(frame: unknown): void;
  /** The gateway or the network closed it, as with a WebSocket's close code; called once. */
  onClose(code: number, reason: string): void;
}

/** One attempt to connect, and the connection if it succeeds. */
export interface Transport {
  readonly name: TransportName;
  /** Sends a message; only after the gateway's first frame. */
  send(message: ClientMessage): void;
  /** Closes it without an event. */
  close(): void;
}

/**
 * Begins to connect to what `url` returns, with the position that is current at the time of the
 * call. Throws if the page may not connect to the URL or the token has forbidden characters.
 */
export type OpenTransport = (url: () => URL, token: string, events: TransportEvents) => Transport;
