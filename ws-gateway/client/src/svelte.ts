import { readable, type Readable } from "svelte/store";
import { countdown, type Countdown } from "./countdown.ts";
import type { Feed, Snapshot } from "./feed.ts";
import type { ReadMarks } from "./read-state.ts";

/** Returns a store of the current snapshot; rendering on a server does not connect. */
export function notifications(feed: Feed): Readable<Snapshot> {
  return readable(feed.snapshot(), (set) => {
    if (typeof window === "undefined") return;
    set(feed.snapshot());
    return feed.subscribe(() => set(feed.snapshot()));
  });
}

/** Returns a store of the number of unread notifications; a server does not connect. */
export function unread(marks: ReadMarks): Readable<number | undefined> {
  return readable<number | undefined>(marks.unread, (set) => {
    if (typeof window === "undefined") return;
    set(marks.unread);
    return marks.onUnread(set);
  });
}

/** Returns a store of the time left until `deadline`, updated every second. */
export function countdownTo(deadline: string): Readable<Countdown> {
  return readable(countdown(deadline), (set) => {
    const timer = setInterval(() => set(countdown(deadline)), 1000);
    return () => clearInterval(timer);
  });
}
