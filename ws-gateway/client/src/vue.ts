import { getCurrentInstance, onMounted, onScopeDispose, shallowReadonly, shallowRef } from "vue";
import type { Ref } from "vue";
import { countdown, type Countdown } from "./countdown.ts";
import type { Feed, Snapshot } from "./feed.ts";
import type { ReadMarks } from "./read-state.ts";

/** Returns a ref of the current snapshot; rendering on a server does not connect. */
export function useNotifications(feed: Feed): Readonly<Ref<Snapshot>> {
  const snapshot = shallowRef(feed.snapshot());
  follow(feed.subscribe, () => (snapshot.value = feed.snapshot()));
  return shallowReadonly(snapshot);
}

/** Returns a ref of the number of unread notifications; a server does not connect. */
export function useUnread(marks: ReadMarks): Readonly<Ref<number | undefined>> {
  const unread = shallowRef(marks.unread);
  follow((listener) => marks.onUnread(listener), () => (unread.value = marks.unread));
  return shallowReadonly(unread);
}

/** Returns a ref of the time left until `deadline`, updated every second. */
export function useCountdown(deadline: string): Readonly<Ref<Countdown>> {
  const left = shallowRef(countdown(deadline));
  if (typeof window !== "undefined") {
    const timer = setInterval(() => (left.value = countdown(deadline)), 1000);
    onScopeDispose(() => clearInterval(timer));
  }
  return shallowReadonly(left);
}

/** Subscribes once the component is mounted, so that it first renders what a server did. */
function follow(subscribe: (listener: () => void) => () => void, update: () => void): void {
  if (typeof window === "undefined") return;
  let unsubscribe: (() => void) | undefined;
  const begin = () => {
    unsubscribe = subscribe(update);
    update();
  };
  if (getCurrentInstance()) onMounted(begin);
  else begin();
  onScopeDispose(() => unsubscribe?.());
}
