import { readable, type Readable } from "svelte/store";
import { countdown, type Countdown } from "./countdown.ts";
import type { Feed, Snapshot } from "./feed.ts";

/** What to show now, as a store. */
export function notifications(feed: Feed): Readable<Snapshot> {
  return readable(feed.snapshot(), (set) => {
    set(feed.snapshot());
    return feed.subscribe(() => set(feed.snapshot()));
  });
}

/** The time until `deadline`, counting down every second, as a store. */
export function countdownTo(deadline: string): Readable<Countdown> {
  return readable(countdown(deadline), (set) => {
    const timer = setInterval(() => set(countdown(deadline)), 1000);
    return () => clearInterval(timer);
  });
}
