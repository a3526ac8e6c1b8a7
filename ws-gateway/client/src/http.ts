// What both transports over plain HTTP share.

import { STATE_EVENT, type State } from "./contract.ts";
import type { TransportEvents } from "./transport.ts";

/** The close code of a connection that ended without one. */
export const LOST = 1006;
/** That of a gateway that may serve the client later, whatever the transport. */
const TRY_AGAIN_LATER = 1013;

/** Requests `/events` of the gateway whose WebSocket URL is given. */
export function requestEvents(
  url: URL,
  token: string,
  accept: string,
  signal: AbortSignal,
): Promise<Response> {
  url.protocol = url.protocol.replace("ws", "http");
  url.pathname = url.pathname.replace(/\/ws\/?$/, "/events");
  const headers = { Accept: accept, Authorization: `Bearer ${token}` };
  return fetch(url, { headers, signal, cache: "no-store" });
}

/** Whether the response is one of the gateway, and not the page of a proxy. */
export function isOfType(response: Response, type: string): boolean {
  return response.ok && response.headers.get("content-type")?.startsWith(type) === true;
}

/** Reports a refusal with the close code that a WebSocket would get. */
export async function reportRefusal(
  response: Response,
  signal: AbortSignal,
  events: TransportEvents,
): Promise<void> {
  const refusal = await response.json().catch(() => ({}));
  if (signal.aborted) return;
  const isOfGateway = refusal.error !== undefined;
  const code = refusal.code ?? (isOfGateway ? TRY_AGAIN_LATER : LOST);
  events.onClose(code, refusal.error ?? `HTTP status ${response.status}`);
}

/** Returns a frame about the connection. */
export function stateFrame(data: Partial<State>): object {
  return { event: STATE_EVENT, data };
}
