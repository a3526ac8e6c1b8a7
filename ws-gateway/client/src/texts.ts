// Texts of notifications in the languages of the user, from the typed data of each event.

import type { Notification, Notifications } from "./contract.ts";
import { ENGLISH } from "./texts-english.ts";
import { SWEDISH } from "./texts-swedish.ts";

/**
 * A text for each event; a language without one does not compile. Fields may be missing, as a
 * service may request a notification of the same name with other data.
 */
export type Texts = {
  readonly [E in keyof Notifications]: (data: Notifications[E]["data"]) => string;
};

/** The languages. */
export type Language = "en" | "sv";

const LANGUAGES: Record<Language, Texts> = { en: ENGLISH, sv: SWEDISH };

/**
 * Returns the text of a notification, to be rendered as text. One that a service requested under a
 * name of its own has the text of that service.
 */
export function text(notification: Notification, language: Language): string {
  const texts = LANGUAGES[language];
  const { event, data } = notification;
  if (Object.hasOwn(texts, event)) return texts[event as keyof Texts](data as never);
  const message = (data as { message?: unknown }).message;
  return typeof message === "string" ? message : event;
}
