// The transport of long polls: one request after the other, each from the current position.

import { READ_STATE_EVENT, type ReadState, type Resume } from "./contract.ts";
import { isOfType, LOST, reportRefusal, requestEvents, stateFrame } from "./http.ts";
import type { OpenTransport } from "./transport.ts";

const TYPE = "application/json";
/** Proxies often end a request after 30 s. */
const WAIT_S = 25;
const PING_INTERVAL_S = 30;
/** How much longer than its wait a poll may take. */
const LATENCY_MS = 10_000;
/** The interval after a poll that was incomplete or brought nothing new, doubling with each in a
 * row: bounds the requests to a gateway that answers at once instead of waiting. */
const MIN_INTERVAL_MS = 1_000;
const MAX_INTERVAL_MS = 8_000;

interface Answer {
  frames: { event?: string; data?: unknown }[];
  next: string;
  resume: Resume;
  retry_after_ms?: number;
}

/** Polls. */
export const longPoll: OpenTransport = (url, token, events) => {
  let current = new AbortController();
  let isOpen = false;
  let position: string | undefined;
  /** The position up to which the user has read: the gateway answers when it is another one. */
  let readUpTo = "";
  /** How many polls in a row were incomplete or brought nothing new, and were answered early. */
  let repetitions = 0;

  async function run(controller: AbortController): Promise<void> {
    const { signal } = controller;
    const fail = (reason: string) => {
      if (signal.aborted) return;
      controller.abort();
      events.onClose(LOST, reason);
    };
    while (!signal.aborted) {
      // The first poll is answered at once, so that the client knows that it is connected.
      const wait = isOpen ? WAIT_S : 0;
      const begin = Date.now();
      const timer = setTimeout(() => fail("poll timed out"), wait * 1000 + LATENCY_MS);
      try {
        const target = url();
        target.searchParams.set("wait", String(wait));
        target.searchParams.set("read_up_to", readUpTo);
        const response = await requestEvents(target, token, TYPE, signal);
        if (!isOfType(response, TYPE)) return await reportRefusal(response, signal, events);
        const answer = await response.json();
        if (!signal.aborted) onAnswer(answer, controller);
      } catch (error) {
        fail(String(error));
      } finally {
        clearTimeout(timer);
      }
      if (repetitions === 0 || signal.aborted) continue;
      const interval = Math.min(MIN_INTERVAL_MS * 2 ** (repetitions - 1), MAX_INTERVAL_MS);
      const left = begin + interval - Date.now();
      if (left > 0) await pause(left, signal);
      else repetitions = 0;
    }
  }

  function onAnswer(answer: Answer, controller: AbortController): void {
    const { frames, next: last_event_id, resume, retry_after_ms } = answer;
    const hasNews = last_event_id !== position || frames.length > 0;
    const isRepeated = resume === "incomplete" || !hasNews;
    repetitions = isRepeated ? repetitions + 1 : 0;
    position = last_event_id;
    if (!isOpen || resume === "incomplete") {
      isOpen = true;
      const data = { last_event_id, resume, connection_id: "", ping_interval_s: PING_INTERVAL_S };
      events.onFrame(stateFrame({ state: "authenticated", ...data }));
    }
    for (const frame of frames) {
      if (frame?.event === READ_STATE_EVENT) {
        readUpTo = (frame.data as Partial<ReadState> | undefined)?.up_to ?? readUpTo;
      }
      if (!controller.signal.aborted) events.onFrame(frame);
    }
    if (controller.signal.aborted) return;
    events.onFrame(stateFrame({ state: "position", last_event_id }));
    if (retry_after_ms === undefined || controller.signal.aborted) return;
    controller.abort();
    const reason = "restarting";
    const data = { state: "disconnected", reason, reconnect_after_ms: retry_after_ms } as const;
    events.onFrame(stateFrame(data));
    events.onClose(1012, reason);
  }

  void run(current);
  return {
    name: "long_poll",
    send(message) {
      // A poll that hangs times out.
      if (message.type === "ping") return events.onFrame({ type: "pong" });
      if (message.type === "auth") token = message.token;
      current.abort();
      current = new AbortController();
      void run(current);
    },
    close: () => current.abort(),
  };
};

/** Never returns once the signal is aborted. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => clearTimeout(timer));
  });
}
