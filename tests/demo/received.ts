// The list of received notifications, with filters, latencies and countdowns.

import { CATEGORIES, countdown, is } from "../../ws-gateway/client/src/index.ts";
import type { Category, Notification } from "../../ws-gateway/client/src/index.ts";
import { text, type Language } from "../../ws-gateway/client/src/texts.ts";
import { button, colour, element } from "./elements.ts";
import { eventName, LABELS, type Labels } from "./labels.ts";

/** The length of the list. */
const MAX_ITEMS = 500;
/** Above this latency a notification was resumed from history, not delivered live. */
const LIVE_LIMIT_MS = 2_000;

/** An item of the list. */
interface Item {
  readonly element: HTMLElement;
  readonly notification: Notification;
  readonly receivedAt: number;
  /** From the click that sent the event, in milliseconds. */
  latency?: number;
}

export class Received {
  readonly #list = element("notifications");
  /** Newest first. */
  #items: Item[] = [];
  /** By event id: when events were sent that have not arrived. */
  readonly #sentAt = new Map<string, number>();
  readonly #hidden = new Set<Category>();
  #count = 0;
  #language: Language = "en";

  clear(): void {
    this.#items = [];
    this.#list.replaceChildren();
    this.#count = 0;
    this.#showCount();
  }

  /** Shows everything in this language. */
  translate(language: Language): void {
    this.#language = language;
    this.#showFilters();
    this.#items.forEach((item) => this.#render(item));
  }

  /** Adds a notification. */
  show(notification: Notification): void {
    const template = element("notification") as HTMLTemplateElement;
    const copy = template.content.cloneNode(true) as DocumentFragment;
    const item: Item = {
      element: copy.firstElementChild as HTMLElement,
      notification,
      receivedAt: performance.now(),
    };
    this.#render(item);
    this.#items.unshift(item);
    this.#list.prepend(item.element);
    for (const { element } of this.#items.splice(MAX_ITEMS)) element.remove();
    this.#count += 1;
    this.#showCount();
    const sentAt = this.#sentAt.get(notification.event_id ?? "");
    if (sentAt !== undefined) this.#measure(item, sentAt);
  }

  /** Measures the latency of an event, whose notification may have arrived before its id. */
  sent(id: string, at: number): void {
    const item = this.#items.find(({ notification }) => notification.event_id === id);
    if (item) this.#measure(item, at);
    else this.#sentAt.set(id, at);
  }

  /** Shows the time that is left now. */
  updateCountdowns(): void {
    this.#items.forEach((item) => this.#renderCountdown(item));
  }

  get #labels(): Labels {
    return LABELS[this.#language];
  }

  #render(item: Item): void {
    const { notification } = item;
    const { event, category, priority, timestamp } = notification;
    const show = (selector: string, text: string) => (part(item, selector).textContent = text);
    item.element.dataset.category = category;
    item.element.hidden = this.#hidden.has(category);
    colour(item.element, category);
    show(".title", eventName(event));
    show(".priority", priority);
    part(item, ".priority").dataset.priority = priority;
    show(".message", text(notification, this.#language));
    show(".category", this.#labels.categories[category]);
    show("time", new Date(timestamp).toLocaleTimeString(this.#language));
    show("summary", this.#labels.source);
    show("pre", JSON.stringify(notification, null, 2));
    this.#renderCountdown(item);
    this.#renderLatency(item);
  }

  #renderCountdown(item: Item): void {
    if (!is(item.notification, "student_matches_suggested")) return;
    const { over, text } = countdown(item.notification.data.confirmation_deadline);
    const shown = part(item, ".countdown");
    shown.textContent = over ? this.#labels.timeIsOver : this.#labels.left(text);
    shown.hidden = false;
  }

  #measure(item: Item, sentAt: number): void {
    this.#sentAt.delete(item.notification.event_id ?? "");
    item.latency = item.receivedAt - sentAt;
    this.#renderLatency(item);
  }

  #renderLatency(item: Item): void {
    if (item.latency === undefined) return;
    const isLate = item.latency > LIVE_LIMIT_MS;
    const shown = part(item, ".latency");
    shown.textContent = isLate
      ? this.#labels.caughtUp((item.latency / 1000).toFixed(1))
      : `${Math.round(item.latency)} ms`;
    shown.toggleAttribute("data-late", isLate);
    shown.title = this.#labels.latencyOf;
  }

  #showFilters(): void {
    const filters = CATEGORIES.map((category) => {
      const filter = button(this.#labels.categories[category], () => {
        if (!this.#hidden.delete(category)) this.#hidden.add(category);
        filter.ariaPressed = String(!this.#hidden.has(category));
        this.#items.forEach((item) => this.#render(item));
      });
      filter.ariaPressed = String(!this.#hidden.has(category));
      colour(filter, category);
      return filter;
    });
    element("filters").replaceChildren(...filters);
  }

  #showCount(): void {
    element("count").textContent = String(this.#count);
    element("empty").hidden = this.#count > 0;
  }
}

function part(item: Item, selector: string): HTMLElement {
  return item.element.querySelector(selector) as HTMLElement;
}
