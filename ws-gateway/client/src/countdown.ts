/** The time left until a deadline. */
export interface Countdown {
  readonly over: boolean;
  readonly hours: number;
  readonly minutes: number;
  readonly seconds: number;
  /** As `23:59:07`. */
  readonly text: string;
}

/** Returns the time left until `deadline`, such as a `confirmation_deadline`. */
export function countdown(deadline: string, now = Date.now()): Countdown {
  // An invalid time counts as over.
  const left = Math.max(0, Math.ceil((Date.parse(deadline) - now) / 1000) || 0);
  const hours = Math.floor(left / 3600);
  const minutes = Math.floor(left / 60) % 60;
  const seconds = left % 60;
  const text = [hours, minutes, seconds].map((part) => String(part).padStart(2, "0")).join(":");
  return { over: left === 0, hours, minutes, seconds, text };
}
