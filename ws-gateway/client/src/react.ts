import {
  createContext,
  useCallback,
  useContext,
  useEffect,
  useState,
  useSyncExternalStore,
} from "react";
import { countdown, type Countdown } from "./countdown.ts";
import { INITIAL_SNAPSHOT, type Feed, type Snapshot } from "./feed.ts";
import type { ReadMarks } from "./read-state.ts";

const FeedContext = createContext<Feed | undefined>(undefined);

/** Provides a feed to the components in it: `<FeedProvider value={feed}>`. */
export const FeedProvider = FeedContext.Provider;

/**
 * Returns the current snapshot of a feed, by default of the nearest provider's; re-renders the
 * component when it changes.
 */
export function useNotifications(feed?: Feed): Snapshot {
  const provided = useContext(FeedContext);
  const used = feed ?? provided;
  if (!used) throw new Error("useNotifications() needs a feed or a FeedProvider");
  return useSyncExternalStore(used.subscribe, used.snapshot, () => INITIAL_SNAPSHOT);
}

/** Returns the number of unread notifications; re-renders the component when it changes. */
export function useUnread(marks: ReadMarks): number | undefined {
  const subscribe = useCallback((listener: () => void) => marks.onUnread(listener), [marks]);
  return useSyncExternalStore(subscribe, () => marks.unread, () => undefined);
}

/** Returns the time left until `deadline`; re-renders every second. */
export function useCountdown(deadline: string): Countdown {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return countdown(deadline, now);
}
