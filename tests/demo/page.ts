// The page of `make demo`, on the browser client. Everything that arrives is shown as text.

import {
  CATEGORIES,
  connect,
  countdown,
  is,
  type Category,
  type Client,
  type Notification,
  type Status,
} from "../../ws-gateway/client/src/index.ts";
import { words } from "./words.ts";

/** What `GET /session` says: where to connect, as whom, and what can be sent. */
interface Session {
  url: string;
  token: string;
  user: string;
  events: { name: string; category: Category }[];
}

/** Most notifications in the list. */
const KEPT = 500;
/** Slower than this, it came later and not live. */
const LATE_MS = 2_000;

const element = (id: string) => document.getElementById(id) as HTMLElement;
const list = element("notifications");
/** When an event was sent, by its id; and the items that were there before the id was known. */
const sentAt = new Map<string, number>();
const early = new Map<string, { item: HTMLElement; at: number }>();
const hidden = new Set<Category>();
let received = 0;

async function session(): Promise<Session> {
  return (await fetch("/session")).json();
}

async function start(): Promise<void> {
  const { url, user, events } = await session();
  const token = async () => (await session()).token;
  const client = connect({ url, token, shareAs: user });
  client.onStatus(showStatus);
  client.onAny(show);
  client.onIncomplete(() => note("Something was missed: an app would load its state again now."));
  showEvents(events);
  showFilters();
  wire(client, events);
  setInterval(() => {
    showStatus(client.status);
    countDown();
  }, 1000);
}

function wire(client: Client, events: Session["events"]): void {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => {
    list.replaceChildren();
    received = 0;
    count();
  };
  const toggle = element("switch");
  toggle.onclick = async () => {
    const cut = toggle.ariaChecked === "true";
    await fetch(cut ? "/network/cut" : "/network/mend", { method: "POST" });
    toggle.ariaChecked = String(!cut);
    element("hint").hidden = !cut;
    client.retry();
  };
}

function showStatus(status: Status): void {
  const state = element("state");
  state.dataset.state = status.state;
  element("retry").hidden = status.state !== "waiting";
  const text = words.status(status);
  // A screen reader speaks what changes, so the seconds stand elsewhere.
  if (state.textContent !== text) state.textContent = text;
  element("wait").textContent = words.wait(status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}

function note(text: string): void {
  const hint = element("hint");
  hint.textContent = text;
  hint.hidden = false;
}

function showEvents(events: Session["events"]): void {
  // On a phone, what arrives comes before what can be sent.
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.textContent = words.name(category);
    colour(title, category);
    const buttons = document.createElement("div");
    events.forEach((event, number) => {
      if (event.category === category) buttons.append(button(words.name(event.name), () => send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}

function showFilters(): void {
  for (const category of CATEGORIES) {
    const filter = button(words.name(category), () => {
      if (!hidden.delete(category)) hidden.add(category);
      filter.ariaPressed = String(!hidden.has(category));
      for (const item of list.querySelectorAll<HTMLElement>(`[data-category="${category}"]`)) {
        item.hidden = hidden.has(category);
      }
    });
    filter.ariaPressed = "true";
    colour(filter, category);
    element("filters").append(filter);
  }
}

function button(text: string, press: () => void): HTMLButtonElement {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = press;
  return button;
}

function colour(element: HTMLElement, category: string): void {
  element.style.setProperty("--of", `var(--${category})`);
}

async function send(number: number): Promise<void> {
  const pressed = performance.now();
  const answer = await fetch(`/events/${number}`, { method: "POST" });
  const id = await answer.text();
  if (!answer.ok) return note(id);
  const shown = early.get(id);
  if (!shown) {
    sentAt.set(id, pressed);
    return;
  }
  early.delete(id);
  showLatency(shown.item, shown.at - pressed);
}

function show(notification: Notification): void {
  const at = performance.now();
  const template = element("notification") as HTMLTemplateElement;
  const item = (template.content.cloneNode(true) as DocumentFragment).firstElementChild as HTMLElement;
  const text = (selector: string, value: string) => {
    (item.querySelector(selector) as HTMLElement).textContent = value;
  };
  const { event, category, priority, event_id, data, timestamp } = notification;
  item.dataset.category = category;
  item.dataset.eventId = event_id ?? "";
  item.hidden = hidden.has(category);
  colour(item, category);
  text(".title", words.name(event));
  text(".priority", priority);
  (item.querySelector(".priority") as HTMLElement).dataset.priority = priority;
  text(".category", words.name(category));
  text(".message", words.message(data));
  text("time", new Date(timestamp).toLocaleTimeString());
  text("pre", JSON.stringify(notification, null, 2));
  if (is(notification, "student_matches_suggested")) {
    item.dataset.deadline = notification.data.confirmation_deadline;
  }
  list.prepend(item);
  while (list.childElementCount > KEPT) list.lastElementChild?.remove();
  received += 1;
  count();
  countDown();
  if (event_id) measure(item, event_id, at);
}

function measure(item: HTMLElement, event: string, at: number): void {
  const pressed = sentAt.get(event);
  if (pressed === undefined) {
    early.set(event, { item, at });
  } else {
    sentAt.delete(event);
    showLatency(item, at - pressed);
  }
}

function showLatency(item: HTMLElement, milliseconds: number): void {
  const latency = item.querySelector(".latency") as HTMLElement;
  latency.textContent = words.latency(milliseconds, LATE_MS);
  latency.toggleAttribute("data-late", milliseconds > LATE_MS);
  latency.title = "from the click to this page";
}

function countDown(): void {
  for (const item of list.querySelectorAll<HTMLElement>("[data-deadline]")) {
    const shown = item.querySelector(".countdown") as HTMLElement;
    const left = countdown(item.dataset.deadline ?? "");
    shown.textContent = left.over ? "The time to confirm is over" : `${left.text} left to confirm`;
    shown.hidden = false;
  }
}

function count(): void {
  element("count").textContent = String(received);
  element("empty").hidden = received > 0;
}

void start();
