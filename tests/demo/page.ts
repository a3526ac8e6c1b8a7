// The page of `make demo`: sends events and shows what the browser client receives, as text.

import {
  CATEGORIES,
  connect,
  eventStream,
  ladder,
  longPoll,
  ReadMarks,
  webSocket,
  type Category,
  type Client,
  type OpenTransport,
  type TransportName,
} from "../../ws-gateway/client/src/index.ts";
import type { Language } from "../../ws-gateway/client/src/texts.ts";
import { button, colour, element } from "./elements.ts";
import { eventName, LABELS, statusDetail, statusText, type Labels } from "./labels.ts";
import { Received } from "./received.ts";

/** The answer of `GET /session`: the URL, the user, and the events that can be sent. */
interface Session {
  url: string;
  token: string;
  user: string;
  events: { name: string; category: Category }[];
}

const TRANSPORTS: Record<TransportName | "automatic", OpenTransport> = {
  websocket: webSocket,
  event_stream: eventStream,
  long_poll: longPoll,
  automatic: ladder(),
};
/** What the user has chosen, in all tabs. */
const TRANSPORT_KEY = "transport";
const LANGUAGE_KEY = "language";

const received = new Received();

async function session(): Promise<Session> {
  return (await fetch("/session")).json();
}

/** Returns the texts in the language that the user has chosen. */
function labels(): Labels {
  return LABELS[language()];
}

function language(): Language {
  return localStorage.getItem(LANGUAGE_KEY) === "sv" ? "sv" : "en";
}

function transport(): keyof typeof TRANSPORTS {
  const chosen = localStorage.getItem(TRANSPORT_KEY) ?? "";
  return chosen in TRANSPORTS ? (chosen as keyof typeof TRANSPORTS) : "websocket";
}

async function start(): Promise<void> {
  const { url, user, events } = await session();
  const token = async () => (await session()).token;
  const transports: OpenTransport = (...attempt) => TRANSPORTS[transport()](...attempt);
  const client = connect({ url, token, shareAs: user, transports });
  const marks = new ReadMarks(client, { url, token });
  showEvents(events);
  translate(client, marks);
  client.onStatus(() => showStatus(client));
  client.onAny((notification) => received.show(notification));
  client.onIncomplete(() => showHint(labels().missed));
  marks.onUnread(() => showUnread(marks));
  connectControls(client, marks, events);
  setInterval(() => {
    showStatus(client);
    received.updateCountdowns();
  }, 1000);
}

function connectControls(client: Client, marks: ReadMarks, events: Session["events"]): void {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => received.clear();
  element("read").onclick = () => void marks.markRead().catch((error) => showHint(String(error)));
  element("network").onclick = () => void switchNetwork(client);
  onChoice("language", LANGUAGE_KEY, () => translate(client, marks));
  onChoice("transport", TRANSPORT_KEY, () => {
    showChoices();
    // The client resumes from its last position.
    client.close();
    client.start();
  });
}

/** Calls `apply` when the user chooses another value, in this tab or in another one. */
function onChoice(id: string, key: string, apply: () => void): void {
  const select = element(id) as HTMLSelectElement;
  select.onchange = () => {
    localStorage.setItem(key, select.value);
    apply();
  };
  addEventListener("storage", (change) => change.key === key && apply());
}

async function switchNetwork(client: Client): Promise<void> {
  const network = element("network");
  const cut = network.ariaChecked === "true";
  await fetch(cut ? "/network/cut" : "/network/restore", { method: "POST" });
  network.ariaChecked = String(!cut);
  showHint(cut ? labels().cut : "");
  client.retry();
}

/** Shows everything in the language of the user. */
function translate(client: Client, marks: ReadMarks): void {
  document.documentElement.lang = language();
  const texts = labels();
  for (const labeled of document.querySelectorAll<HTMLElement>("[data-label]")) {
    labeled.textContent = String(texts[labeled.dataset.label as keyof Labels]);
  }
  for (const title of document.querySelectorAll<HTMLElement>("#events [data-category]")) {
    title.textContent = texts.categories[title.dataset.category as Category];
  }
  for (const option of (element("transport") as HTMLSelectElement).options) {
    option.textContent = { ...texts.transports, automatic: texts.automatic }[option.value] ?? "";
  }
  element("filters").ariaLabel = texts.filters;
  showHint("");
  showChoices();
  showStatus(client);
  showUnread(marks);
  received.translate(language());
}

function showChoices(): void {
  (element("language") as HTMLSelectElement).value = language();
  (element("transport") as HTMLSelectElement).value = transport();
}

function showStatus({ status }: Client): void {
  const state = element("state");
  state.dataset.state = status.state;
  element("retry").hidden = status.state !== "waiting";
  const text = statusText(labels(), status);
  // Screen readers announce each change, so the seconds are in another element.
  if (state.textContent !== text) state.textContent = text;
  element("detail").textContent = statusDetail(labels(), status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}

function showUnread({ unread }: ReadMarks): void {
  const badge = element("unread");
  badge.hidden = unread === undefined;
  badge.textContent = labels().unread(unread ?? 0);
  (element("read") as HTMLButtonElement).disabled = !unread;
  document.title = unread ? `(${unread}) ${labels().page}` : labels().page;
}

/** Shows a hint above the page; an empty one is hidden. */
function showHint(text: string): void {
  const hint = element("hint");
  hint.textContent = text;
  hint.hidden = text === "";
}

function showEvents(events: Session["events"]): void {
  // On a phone, received notifications come before the buttons.
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.dataset.category = category;
    colour(title, category);
    const buttons = document.createElement("div");
    buttons.lang = "en";
    events.forEach((event, number) => {
      if (event.category !== category) return;
      buttons.append(button(eventName(event.name), () => void send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}

async function send(number: number): Promise<void> {
  const pressed = performance.now();
  const answer = await fetch(`/events/${number}`, { method: "POST" });
  const id = await answer.text();
  if (answer.ok) received.sent(id, pressed);
  else showHint(id);
}

void start();
