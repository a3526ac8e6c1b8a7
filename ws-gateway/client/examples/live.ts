// Shared by both examples: one client and one feed for the whole app.

import { connect, Feed, type Status } from "@huleedu/live-notifications";

async function session(): Promise<{ url: string; token: string; user: string }> {
  return (await fetch("/session")).json();
}

const { url, user } = await session();
// Vite's development server proxies the WebSocket; a built page connects directly.
const address = import.meta.env.DEV ? `ws://${location.host}/ws` : url;
const token = async () => (await session()).token;

export const feed = new Feed(connect({ url: address, token, shareAs: user }));

/** Sends `student_matches_suggested`, as the demo's button does. */
export const suggestMatches = () => fetch("/events/5", { method: "POST" });

export const statusText: Record<Status["state"], string> = {
  idle: "Not connected",
  connecting: "Connecting",
  open: "Live",
  waiting: "Disconnected, trying again",
  stopped: "Stopped",
};
