import type { Resume } from "./contract.ts";

/** How things stand with the gateway. */
export type Status =
  /** A connection is being made. */
  | { readonly state: "connecting" }
  /** Everything arrives. `connectionId` is what the gateway calls it in its logs. */
  | { readonly state: "open"; readonly connectionId: string; readonly resume: Resume }
  /** There is none; the next attempt is at `retryAt`, in milliseconds since 1970. */
  | { readonly state: "waiting"; readonly retryAt: number; readonly offline: boolean }
  /** There will be none: the gateway said so (`code`), or `close()` was called (no code). */
  | { readonly state: "stopped"; readonly code?: number; readonly message: string };
