/** How long it is until a deadline. */
export interface Countdown {
  readonly over: boolean;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
  /** `23:59:07`, to be shown. */
  readonly text: string;
}

/** The time that is left until `deadline`, such as a `confirmation_deadline`. */
export function countdown(deadline: string, now = Date.now()): Countdown {
  // A text that is no time counts as over.
  const left = Math.max(0, Math.ceil((Date.parse(deadline) - now) / 1000) || 0);
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor(left / 60) % 60;
  const seconds = left % 60;
  const text = [hours, minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":");
  return { over: left === 0, hours, minutes, seconds, text };
}
