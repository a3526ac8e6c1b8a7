// The texts of the demo page.

import { TOKEN_CODES, WAIT_CODES, type Status } from "../../ws-gateway/client/src/index.ts";

/** The close reason of a refusal helps its reader; a lost connection has none. */
function waitingFor({ offline, code, message }: Extract<Status, { state: "waiting" }>): string {
  if (offline) return "Offline";
  const isRefused = code !== undefined && [...WAIT_CODES, ...TOKEN_CODES].includes(code);
  return isRefused ? message : "Disconnected";
}

export const labels = {
  /** `cj_assessment_failed` becomes `CJ assessment failed`. */
  name(name: string): string {
    const text = name.replaceAll("_", " ");
    const capital = text.charAt(0).toUpperCase() + text.slice(1);
    return capital.replace(/^Cj /, "CJ ");
  },

  status(status: Status): string {
    switch (status.state) {
      case "idle":
      case "connecting":
        return "Connecting";
      case "open":
        return status.resume === "complete" ? "Live, nothing missed" : "Live";
      case "waiting":
        return `${waitingFor(status)}, trying again`;
      case "stopped":
        return status.message ? `Stopped: ${status.message}` : "Stopped";
    }
  },

  wait(status: Status, now: number): string {
    if (status.state !== "waiting") return "";
    return `in ${Math.max(0, Math.ceil((status.retryAt - now) / 1000))} s`;
  },

  /** The message of a notification; some name only their file. */
  message(data: object): string {
    const { message, filename } = data as { message?: unknown; filename?: unknown };
    return String(message ?? filename ?? "");
  },

  latency(milliseconds: number, liveLimit: number): string {
    if (milliseconds <= liveLimit) return `${Math.round(milliseconds)} ms`;
    return `caught up after ${(milliseconds / 1000).toFixed(1)} s`;
  },
};
