// The texts of the demo page in both languages. Those of notifications come with the client; names
// of events are the same in both.

import {
  TOKEN_CODES,
  WAIT_CODES,
  type Category,
  type Status,
  type TransportName,
} from "../../ws-gateway/client/src/index.ts";
import type { Language } from "../../ws-gateway/client/src/texts.ts";

const ENGLISH = {
  skip: "Skip to what was received",
  page: "Live notifications",
  path: "event → Kafka → ingest-worker → Redis → ws-gateway → this page",
  retry: "Retry now",
  transport: "Transport",
  automatic: "Automatic",
  language: "Language",
  network: "Network",
  cut: "The network is cut. Send some events, then switch it on: they arrive in order, each once.",
  send: "Send an event",
  all: "Send all",
  choose: "Choose one",
  received: "Received",
  read: "Mark all read",
  clear: "Clear",
  filters: "Categories to show",
  empty: "Nothing yet. What you send appears here within milliseconds.",
  source: "As received",
  missed: "Notifications were missed: an app would now reload its state.",
  timeIsOver: "The time to confirm is over",
  latencyOf: "from the click to this page",

  connecting: "Connecting",
  live: "Live",
  complete: "Live, nothing missed",
  offline: "Offline",
  lost: "Disconnected",
  again: (cause: string) => `${cause}, trying again`,
  stopped: "Stopped",
  retryIn: (seconds: number) => `in ${seconds} s`,
  over: (transport: string) => `over ${transport}`,
  unread: (count: number) => `${count} unread`,
  left: (time: string) => `${time} left to confirm`,
  caughtUp: (seconds: string) => `caught up after ${seconds} s`,

  transports: {
    websocket: "WebSocket",
    event_stream: "Event stream",
    long_poll: "Long poll",
  } as Record<TransportName, string>,
  categories: {
    batch_progress: "Batch progress",
    processing_results: "Processing results",
    file_operations: "File operations",
    class_management: "Class management",
    student_workflow: "Student workflow",
    system_alerts: "System alerts",
  } as Record<Category, string>,
};

/** The texts in one language. */
export type Labels = typeof ENGLISH;

const SWEDISH: Labels = {
  skip: "Hoppa till det som har tagits emot",
  page: "Direktaviseringar",
  path: "händelse → Kafka → ingest-worker → Redis → ws-gateway → den här sidan",
  retry: "Försök nu",
  transport: "Transport",
  automatic: "Automatisk",
  language: "Språk",
  network: "Nätverk",
  cut: "Nätverket är avbrutet. Skicka några händelser och slå på det: alla kommer fram, en gång.",
  send: "Skicka en händelse",
  all: "Skicka alla",
  choose: "Välj en",
  received: "Mottaget",
  read: "Markera alla som lästa",
  clear: "Rensa",
  filters: "Kategorier att visa",
  empty: "Inget ännu. Det du skickar visas här inom millisekunder.",
  source: "Som mottaget",
  missed: "Aviseringar har gått förlorade: en app skulle nu läsa in sina data på nytt.",
  timeIsOver: "Tiden för att bekräfta är ute",
  latencyOf: "från klicket till den här sidan",

  connecting: "Ansluter",
  live: "Ansluten",
  complete: "Ansluten, inget har missats",
  offline: "Offline",
  lost: "Frånkopplad",
  again: (cause) => `${cause}, försöker igen`,
  stopped: "Stoppad",
  retryIn: (seconds) => `om ${seconds} s`,
  over: (transport) => `via ${transport}`,
  unread: (count) => (count === 1 ? "1 oläst" : `${count} olästa`),
  left: (time) => `${time} kvar att bekräfta`,
  caughtUp: (seconds) => `i kapp efter ${seconds} s`,

  transports: {
    websocket: "WebSocket",
    event_stream: "Händelseström",
    long_poll: "Lång pollning",
  },
  categories: {
    batch_progress: "Omgångens förlopp",
    processing_results: "Resultat",
    file_operations: "Filer",
    class_management: "Klasser",
    student_workflow: "Elever",
    system_alerts: "Systemlarm",
  },
};

export const LABELS: Record<Language, Labels> = { en: ENGLISH, sv: SWEDISH };

/** Returns the text of a connection's status. */
export function statusText(labels: Labels, status: Status): string {
  switch (status.state) {
    case "idle":
    case "connecting":
      return labels.connecting;
    case "open":
      return status.resume === "complete" ? labels.complete : labels.live;
    case "waiting":
      return labels.again(waitingFor(labels, status));
    case "stopped":
      return status.message ? `${labels.stopped}: ${status.message}` : labels.stopped;
  }
}

/** The close reason of a refusal helps its reader; a lost connection has none. */
function waitingFor(labels: Labels, status: Extract<Status, { state: "waiting" }>): string {
  const { offline, code, message } = status;
  if (offline) return labels.offline;
  const isRefused = code !== undefined && [...WAIT_CODES, ...TOKEN_CODES].includes(code);
  return isRefused ? message : labels.lost;
}

/** Returns what a status says besides its text: the next attempt, or the transport in use. */
export function statusDetail(labels: Labels, status: Status, now: number): string {
  if (status.state === "waiting") {
    return labels.retryIn(Math.max(0, Math.ceil((status.retryAt - now) / 1000)));
  }
  if (status.state !== "open" || !status.transport) return "";
  return labels.over(labels.transports[status.transport]);
}

/** Returns `CJ assessment failed` for `cj_assessment_failed`. */
export function eventName(event: string): string {
  const text = event.replaceAll("_", " ");
  return (text.charAt(0).toUpperCase() + text.slice(1)).replace(/^Cj /, "CJ ");
}
