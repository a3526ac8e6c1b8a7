// The page of `make demo`: sends events and shows what the browser client receives, as text.

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
import { labels } from "./labels.ts";

/** The answer of `GET /session`: the URL, the user, and the events that can be sent. */
interface Session {
  url: string;
  token: string;
  user: string;
  events: { name: string; category: Category }[];
}

/** The length of the list. */
const MAX_ITEMS = 500;
/** Above this latency a notification was resumed from history, not delivered live. */
const LIVE_LIMIT_MS = 2_000;

const element = (id: string) => document.getElementById(id) as HTMLElement;
const list = element("notifications");
/** By event id: when an event was sent, and the items that arrived before the id was known. */
const sentAt = new Map<string, number>();
const arrivedEarly = new Map<string, { item: HTMLElement; at: number }>();
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
  client.onIncomplete(() => showHint("Notifications were missed: an app would now reload its state."));
  showEvents(events);
  showFilters();
  connectControls(client, events);
  setInterval(() => {
    showStatus(client.status);
    updateCountdowns();
  }, 1000);
}

function connectControls(client: Client, events: Session["events"]): void {
  element("retry").onclick = () => client.retry();
  element("all").onclick = () => events.forEach((_, number) => void send(number));
  element("clear").onclick = () => {
    list.replaceChildren();
    received = 0;
    updateCount();
  };
  const toggle = element("switch");
  toggle.onclick = async () => {
    const cut = toggle.ariaChecked === "true";
    await fetch(cut ? "/network/cut" : "/network/restore", { method: "POST" });
    toggle.ariaChecked = String(!cut);
    element("hint").hidden = !cut;
    client.retry();
  };
}

function showStatus(status: Status): void {
  const state = element("state");
  state.dataset.state = status.state;
  element("retry").hidden = status.state !== "waiting";
  const text = labels.status(status);
  // Screen readers announce each change, so the seconds are in another element.
  if (state.textContent !== text) state.textContent = text;
  element("wait").textContent = labels.wait(status, Date.now());
  if (status.state === "open") state.dataset.connection = status.connectionId;
}

function showHint(text: string): void {
  const hint = element("hint");
  hint.textContent = text;
  hint.hidden = false;
}

function showEvents(events: Session["events"]): void {
  // On a phone, received notifications come before the buttons.
  if (matchMedia("(max-width: 48rem)").matches) element("choose").removeAttribute("open");
  for (const category of CATEGORIES) {
    const title = document.createElement("h3");
    title.textContent = labels.name(category);
    colour(title, category);
    const buttons = document.createElement("div");
    events.forEach((event, number) => {
      if (event.category === category) buttons.append(button(labels.name(event.name), () => send(number)));
    });
    const group = document.createElement("section");
    group.append(title, buttons);
    element("events").append(group);
  }
}

function showFilters(): void {
  for (const category of CATEGORIES) {
    const filter = button(labels.name(category), () => {
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
  if (!answer.ok) return showHint(id);
  const shown = arrivedEarly.get(id);
  if (!shown) {
    sentAt.set(id, pressed);
    return;
  }
  arrivedEarly.delete(id);
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
  text(".title", labels.name(event));
  text(".priority", priority);
  (item.querySelector(".priority") as HTMLElement).dataset.priority = priority;
  text(".category", labels.name(category));
  text(".message", labels.message(data));
  text("time", new Date(timestamp).toLocaleTimeString());
  text("pre", JSON.stringify(notification, null, 2));
  if (is(notification, "student_matches_suggested")) {
    item.dataset.deadline = notification.data.confirmation_deadline;
  }
  list.prepend(item);
  while (list.childElementCount > MAX_ITEMS) list.lastElementChild?.remove();
  received += 1;
  updateCount();
  updateCountdowns();
  if (event_id) measureLatency(item, event_id, at);
}

function measureLatency(item: HTMLElement, event: string, at: number): void {
  const pressed = sentAt.get(event);
  if (pressed === undefined) {
    arrivedEarly.set(event, { item, at });
  } else {
    sentAt.delete(event);
    showLatency(item, at - pressed);
  }
}

function showLatency(item: HTMLElement, milliseconds: number): void {
  const latency = item.querySelector(".latency") as HTMLElement;
  latency.textContent = labels.latency(milliseconds, LIVE_LIMIT_MS);
  latency.toggleAttribute("data-late", milliseconds > LIVE_LIMIT_MS);
  latency.title = "from the click to this page";
}

function updateCountdowns(): void {
  for (const item of list.querySelectorAll<HTMLElement>("[data-deadline]")) {
    const shown = item.querySelector(".countdown") as HTMLElement;
    const left = countdown(item.dataset.deadline ?? "");
    shown.textContent = left.over ? "The time to confirm is over" : `${left.text} left to confirm`;
    shown.hidden = false;
  }
}

function updateCount(): void {
  element("count").textContent = String(received);
  element("empty").hidden = received > 0;
}

void start();
