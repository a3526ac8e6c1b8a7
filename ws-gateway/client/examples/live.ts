// Shared by both examples: one client and one feed for the whole app, connected to the mock gateway
// or to a running demo.

import { connect, Feed, type Client, type Status } from "@huleedu/live-notifications";
import { MockGateway } from "@huleedu/live-notifications/mock";

/** A client, and what the button of the page does. */
interface Example {
  client: Client;
  /** Sends `student_matches_suggested`. */
  suggestMatches: () => void;
}

function connectToMock(): Example {
  const gateway = new MockGateway();
  const suggestMatches = () => {
    const confirmation_deadline = new Date(Date.now() + 86_400_000).toISOString();
    gateway.send("student_matches_suggested", { data: { confirmation_deadline } });
  };
  const client = connect({
    url: "wss://mock/ws",
    token: () => "",
    // A new gateway at each page load has no history to resume from.
    storage: null,
    transports: gateway.transport,
  });
  return { client, suggestMatches };
}

async function connectToDemo(): Promise<Example> {
  const { url, user } = await session();
  // Vite's development server proxies the WebSocket; a built page connects directly.
  const address = import.meta.env.DEV ? `ws://${location.host}/ws` : url;
  const token = async () => (await session()).token;
  const suggestMatches = () => void fetch("/events/5", { method: "POST" });
  return { client: connect({ url: address, token, shareAs: user }), suggestMatches };
}

async function session(): Promise<{ url: string; token: string; user: string }> {
  return (await fetch("/session")).json();
}

const isMock = import.meta.env.MODE === "mock";
const { client, suggestMatches } = isMock ? connectToMock() : await connectToDemo();

export const feed = new Feed(client);
export { suggestMatches };

export const statusText: Record<Status["state"], string> = {
  idle: "Not connected",
  connecting: "Connecting",
  open: "Live",
  waiting: "Disconnected, trying again",
  stopped: "Stopped",
};
