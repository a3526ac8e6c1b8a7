// The transport of Server-Sent Events. It uses `fetch`, as an `EventSource` can send no token.

import { isOfType, LOST, reportRefusal, requestEvents } from "./http.ts";
import { parse } from "./json.ts";
import type { OpenTransport } from "./transport.ts";

const TYPE = "text/event-stream";
/** The gateway sends a comment every 15 s. */
const MAX_SILENCE_MS = 20_000;

/** Opens an event stream. */
export const eventStream: OpenTransport = (url, token, events) => {
  let current = new AbortController();
  let lastChunk = 0;

  async function run({ signal }: AbortController): Promise<void> {
    try {
      const response = await requestEvents(url(), token, TYPE, signal);
      if (!isOfType(response, TYPE)) return await reportRefusal(response, signal, events);
      const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
      let received = "";
      for (;;) {
        const chunk = await reader?.read();
        if (signal.aborted) return;
        if (!chunk || chunk.done) break;
        lastChunk = Date.now();
        const blocks = (received + chunk.value).split("\n\n");
        received = blocks.pop() ?? "";
        for (const block of blocks) {
          if (!signal.aborted) onBlock(block);
        }
      }
      if (!signal.aborted) events.onClose(LOST, "");
    } catch (error) {
      if (!signal.aborted) events.onClose(LOST, String(error));
    }
  }

  function onBlock(block: string): void {
    const field = (name: string) =>
      block
        .split("\n")
        .filter((line) => line.startsWith(`${name}: `))
        .map((line) => line.slice(name.length + 2))
        .join("\n");
    const data = parse(field("data"));
    if (data === undefined) return;
    if (field("event") !== "close") return events.onFrame(data);
    current.abort();
    const { code, reason } = data as { code: number; reason: string };
    events.onClose(code, reason);
  }

  /** Opens the stream anew, from the current position. */
  function restart(): void {
    current.abort();
    current = new AbortController();
    void run(current);
  }

  void run(current);
  return {
    name: "event_stream",
    send(message) {
      if (message.type === "ping") {
        if (Date.now() - lastChunk < MAX_SILENCE_MS) events.onFrame({ type: "pong" });
        return;
      }
      // The request cannot carry messages: the next one carries the new token or filter.
      if (message.type === "auth") token = message.token;
      restart();
    },
    close: () => current.abort(),
  };
};
